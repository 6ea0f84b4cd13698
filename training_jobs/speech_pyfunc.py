"""The registered model, as code that MLflow keeps with a version and runs to load it (no pickles).

::

    model = mlflow.pyfunc.load_model("models:/vita-audio-mctp@champion")
    model.predict(pd.DataFrame({"audio": ["question.wav"]}), params={"task": "sqa"})

Input: a data frame with a column ``audio`` of paths (``text`` for the task ``tts``), a list of such values, or a single
one. Parameters: those of :class:`training_jobs.serving.ServingParams`. Output: a data frame with the columns of
:class:`training_jobs.serving.Answer`. It needs voxline to be installed where it is loaded.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from training_jobs.decoding_settings import DecodingSettings
from training_jobs.serving import Answer, RequestError, ServingParams, SpeechService
from training_jobs.weights import DECODING, locate_weights


class SpeechPyfunc(PythonModel):
    """Speech to text and speech, for ``mlflow.pyfunc``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights and tokenizers, from copies kept with the version or from where training left them."""
        checkpoint, tokenizer = locate_weights(context.artifacts, context.model_config)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._decoding = DecodingSettings.model_validate((context.model_config or {}).get(DECODING, {}))
        self._service = SpeechService.load(Path(checkpoint), Path(tokenizer), device, self._decoding)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer every row; see the module's docstring.

        Raises:
            RequestError: naming the row and the file, or the parameter, and what is allowed.
        """
        chosen = ServingParams.parse({"constrained": self._decoding.constrained, **(params or {})})
        answers = self._service.answer(_requests(model_input, chosen), chosen)
        columns = [field.name for field in fields(Answer)]
        return pd.DataFrame([asdict(answer) for answer in answers], columns=columns)


def _requests(model_input: Any, params: ServingParams) -> list[str]:
    """The column that the task reads, or the values of a plain list."""
    if isinstance(model_input, pd.DataFrame):
        column = "text" if params.task == "tts" else "audio"
        if column not in model_input.columns:
            raise RequestError(
                f"task {params.task} reads the column {column!r}; given are {list(model_input.columns)}"
            )
        values = model_input[column].tolist()
    elif isinstance(model_input, str | Path):
        values = [model_input]
    else:
        values = list(model_input)
    for row, value in enumerate(values):
        if not isinstance(value, str | Path):
            raise RequestError(f"row {row}: expected a path or a text, got {value!r}")
    return [str(value) for value in values]


mlflow.models.set_model(SpeechPyfunc())
