"""The processes that decode held-out rows: each holds the model and one thread, and takes a row at a time.

Torch comes in with :func:`start`: the process that hands out the rows imports this module too, and has no use for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow, EvaluationTask

if TYPE_CHECKING:
    from training_jobs.decoding_settings import DecodingSettings
    from training_jobs.dialogue import Reply, SpeechModel
    from training_jobs.spec import Mode

REFERENCE_EXTRA_TOKENS = 10  # that VITA-Audio's evaluation allows beyond the reference's characters
_model: SpeechModel | None = None


@dataclass(frozen=True)
class Answer:
    """What the model said for one row in one mode.

    Attributes:
        corpus, row_id, task: which row.
        hypothesis: the reply's text; for synthesis what the model reads back from its own speech; ``None`` where
            there was no speech to read back.
        read_back: what the model reads back from the speech of its answer to a question; ``None`` as above.
        capped: of a transcription, the text of the first tokens: as many as the reference has characters, and ten
            more. Only the reference's own rules look at it (:mod:`training_jobs.reference_rules`).
        spoken: the reply's audio token numbers.
        new_tokens: of the reply, read-back not counted.
        audio_tokens: among them.
        ended: whether the reply ended by itself.
        seconds: spent on the row.
    """

    corpus: str
    row_id: str
    task: EvaluationTask
    mode: Mode
    hypothesis: str | None
    new_tokens: int
    audio_tokens: int
    ended: bool
    seconds: float
    read_back: str | None = None
    capped: str | None = None
    spoken: tuple[int, ...] = ()


@dataclass(frozen=True)
class TooLong:
    """A row that was not asked, because its prompt leaves no position for a reply."""

    corpus: str
    row_id: str
    task: EvaluationTask
    why: str


def start(model_dir: Path, ratio: Sequence[int], decoding: DecodingSettings) -> None:
    """Load the model, onto the GPU where torch sees one; runs once per process."""
    global _model
    import torch

    from models.quiet import quiet_transformers
    from training_jobs.dialogue import SpeechModel

    # A token of a small model is over before a second thread has woken up: the cores go to rows instead.
    torch.set_num_threads(1)
    with quiet_transformers():
        device = "cuda" if torch.cuda.is_available() else "cpu"
        _model = SpeechModel.load(model_dir, device, ratio, decoding)


def answer(row: EvaluationRow, mode: Mode, max_new_tokens: int) -> Answer | TooLong:
    """Ask the model, in the process that :func:`start` has run in.

    Raises:
        EvaluationError: naming the row, if it cannot be asked as it stands.
    """
    from training_jobs.dialogue import PromptTooLongError

    assert _model is not None, "start() has not run in this process"
    began = time.perf_counter()
    try:
        reply = _model.reply(row.messages, row.audio_tokens, mode, max_new_tokens)
        read_back = None if row.task == "asr" else _read_back(_model, reply, max_new_tokens)
    except PromptTooLongError as error:
        return TooLong(row.corpus, row.row_id, row.task, str(error))
    except ValueError as error:
        raise EvaluationError(f"row {row.row_id!r} of corpus {row.corpus!r}, {mode}: {error}") from error
    return Answer(
        corpus=row.corpus,
        row_id=row.row_id,
        task=row.task,
        mode=mode,
        hypothesis=read_back if row.task == "tts" else reply.text,
        new_tokens=len(reply.token_ids),
        audio_tokens=len(reply.audio_tokens),
        ended=reply.ended,
        seconds=time.perf_counter() - began,
        read_back=read_back if row.task == "sqa" else None,
        capped=_model.read(reply.token_ids[: len(row.reference) + REFERENCE_EXTRA_TOKENS]).text
        if row.task == "asr"
        else None,
        spoken=tuple(reply.audio_tokens),
    )


def _read_back(model: SpeechModel, spoken: Reply, max_new_tokens: int) -> str | None:
    from training_jobs.dialogue import PromptTooLongError

    if not spoken.audio_tokens:
        return None
    try:
        # Always the same listener, so that two modes differ by how they spoke only.
        return model.transcribe(spoken.audio_tokens, "vanilla", max_new_tokens).text
    except PromptTooLongError:
        # Speech without an end is a failed reply; its row was asked, and counts.
        return None
