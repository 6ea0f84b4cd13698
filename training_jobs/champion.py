"""The champion, made ready to be run here; or why it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.decoding_settings import DecodingSettings
from training_jobs.registered import RATIO_TAG, decoding_of
from training_jobs.version_weights import LostVersionError, find_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from models import AudioTokenizer


@dataclass(frozen=True)
class Champion:
    """A version that can be run.

    Attributes:
        ratio: the interleaving that it was trained with.
        decoding: with which it is served.
    """

    version: str
    checkpoint: Path
    tokenizer_dir: Path
    tokenizer: AudioTokenizer
    ratio: tuple[int, ...]
    decoding: DecodingSettings


def ready_champion(
    client: MlflowClient,
    version: ModelVersion,
    scratch: Path,
    default_ratio: Sequence[int],
) -> Champion:
    """The champion, to be decoded in Boost by today's code.

    Args:
        default_ratio: where the version does not say its own.

    Raises:
        LostVersionError: if its weights are gone or have changed, or today's code cannot run them.
    """
    from models import SCHEDULES, load_audio_tokenizer
    from models.checkpoints import read_config
    from models.errors import ModelError

    checkpoint, tokenizer_dir = find_weights(client, version, scratch)
    try:
        tokenizer = load_audio_tokenizer(tokenizer_dir)
        modules = read_config(checkpoint).num_nextn_predict_layers
    except ModelError as error:
        raise LostVersionError(f"version {version.version} cannot be loaded: {error}") from error
    needed = max(SCHEDULES["boost"][1::2])
    if modules < needed:
        raise LostVersionError(
            f"version {version.version} has {modules} MCTP modules; Boost, in which candidate and champion are "
            f"compared, takes {needed}"
        )
    noted = version.tags.get(RATIO_TAG, "").split()
    return Champion(
        version=str(version.version),
        checkpoint=checkpoint,
        tokenizer_dir=tokenizer_dir,
        tokenizer=tokenizer,
        ratio=tuple(map(int, noted)) if noted else tuple(default_ratio),
        decoding=decoding_of(version),
    )
