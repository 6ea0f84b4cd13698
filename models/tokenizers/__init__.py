"""Audio tokenizers behind one interface (DESIGN §6); names are imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.tokenizers.interface import AudioTokenizer, load_audio_tokenizer
    from models.tokenizers.mel_kmeans import MelKmeansTokenizer

_HOMES = {
    "AudioTokenizer": "models.tokenizers.interface",
    "MelKmeansTokenizer": "models.tokenizers.mel_kmeans",
    "load_audio_tokenizer": "models.tokenizers.interface",
}

__all__ = ["AudioTokenizer", "MelKmeansTokenizer", "load_audio_tokenizer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
