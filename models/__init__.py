"""The MCTP language model, its decoding, and audio tokenizers; torch only.

Names are imported on first use (PEP 562), so that ``import models`` pulls in no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.checkpoints import load_model, save_model
    from models.config import MctpConfig
    from models.conversation import Conversation
    from models.engine import Engine
    from models.extension import extend_model
    from models.generation import generate, stream
    from models.interleaving import interleave
    from models.mctp import MctpForCausalLM, MctpOutput, mctp_parameter_names
    from models.sampling import Sampling
    from models.schedules import SCHEDULES
    from models.speech_vocabulary import SpeechVocabulary
    from models.streaming import AudioSegment, End, Event, TextPiece, stream_events
    from models.text_tokenizers import (
        extend_text_tokenizer,
        load_text_tokenizer,
        make_byte_tokenizer,
    )
    from models.tokenizers import AudioTokenizer, load_audio_tokenizer
    from models.verified import Acceptance
    from models.words import AudioWords

_HOMES = {
    "AudioSegment": "models.streaming",
    "Acceptance": "models.verified",
    "AudioTokenizer": "models.tokenizers",
    "AudioWords": "models.words",
    "Conversation": "models.conversation",
    "End": "models.streaming",
    "Engine": "models.engine",
    "Event": "models.streaming",
    "MctpConfig": "models.config",
    "MctpForCausalLM": "models.mctp",
    "MctpOutput": "models.mctp",
    "SCHEDULES": "models.schedules",
    "Sampling": "models.sampling",
    "SpeechVocabulary": "models.speech_vocabulary",
    "TextPiece": "models.streaming",
    "extend_model": "models.extension",
    "extend_text_tokenizer": "models.text_tokenizers",
    "generate": "models.generation",
    "interleave": "models.interleaving",
    "load_audio_tokenizer": "models.tokenizers",
    "load_model": "models.checkpoints",
    "load_text_tokenizer": "models.text_tokenizers",
    "make_byte_tokenizer": "models.text_tokenizers",
    "mctp_parameter_names": "models.mctp",
    "save_model": "models.checkpoints",
    "stream": "models.generation",
    "stream_events": "models.streaming",
}

__all__ = [
    "SCHEDULES",
    "Acceptance",
    "AudioSegment",
    "AudioTokenizer",
    "AudioWords",
    "Conversation",
    "End",
    "Engine",
    "Event",
    "MctpConfig",
    "MctpForCausalLM",
    "MctpOutput",
    "Sampling",
    "SpeechVocabulary",
    "TextPiece",
    "extend_model",
    "extend_text_tokenizer",
    "generate",
    "interleave",
    "load_audio_tokenizer",
    "load_model",
    "load_text_tokenizer",
    "make_byte_tokenizer",
    "mctp_parameter_names",
    "save_model",
    "stream",
    "stream_events",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
