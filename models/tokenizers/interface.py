"""What every audio tokenizer offers, and how one is opened."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

CONFIG_FILE = "config.json"

# Where each kind's class is; it has a class method ``load(directory)``.
_KINDS = {"mel_kmeans": ("models.tokenizers.mel_kmeans", "MelKmeansTokenizer")}


class AudioTokenizer(Protocol):
    """Speech to discrete codes and back."""

    @property
    def frame_rate(self) -> float:
        """Codes per second of audio."""

    @property
    def sample_rate(self) -> int:
        """The rate in Hz at which it works: what comes at another one is resampled first."""

    @property
    def vocabulary_size(self) -> int:
        """Number of codes; they are 0 to ``vocabulary_size - 1``."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides which codes come out."""

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> list[int]:
        """The codes of a mono waveform of shape (samples,), in [-1, 1]; at least one."""

    def decode(self, codes: Sequence[int]) -> NDArray[np.float32]:
        """A mono waveform at 22,050 Hz; a kind without a decoder raises :class:`NoDecoderError`."""


class TokenizerError(ModelError):
    """A directory that holds no audio tokenizer, or a fault in what one is given."""


class NoDecoderError(TokenizerError):
    """The tokenizer only listens: it makes codes of speech, and no speech of codes."""


def load_audio_tokenizer(directory: str | Path) -> AudioTokenizer:
    """Open the tokenizer in ``directory``, whichever kind its ``config.json`` names.

    Raises:
        TokenizerError: if there is none, or its kind is unknown.
    """
    kind = read_tokenizer_config(directory).get("kind")
    if kind not in _KINDS:
        raise TokenizerError(f"{Path(directory) / CONFIG_FILE}: kind is {kind!r}; there are {sorted(_KINDS)}")
    module, name = _KINDS[kind]
    return cast(AudioTokenizer, getattr(importlib.import_module(module), name).load(directory))


def read_tokenizer_config(directory: str | Path) -> dict[str, Any]:
    """The ``config.json`` of a tokenizer's directory.

    Raises:
        TokenizerError: if it is missing or no JSON object.
    """
    path = Path(directory) / CONFIG_FILE
    if not path.is_file():
        raise TokenizerError(f"{directory} holds no audio tokenizer: it has no {CONFIG_FILE}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise TokenizerError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise TokenizerError(f"{path} is not a JSON object")
    return config
