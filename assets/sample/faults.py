"""Faults planted in the sample corpora, so that ledger and quality page have something to show."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import numpy as np

from assets.sample.synthesis import Waveform
from validation.ledger import Reason

Fault = Literal[
    "clipped", "silent", "truncated", "missing_file", "wrong_length", "empty_text", "duplicate_id"
]

# What the ledger says of each, and how it is made.
LEDGER_REASONS: dict[Fault, Reason] = {
    "clipped": "clipped",
    "silent": "silent",
    "truncated": "truncated",
    "missing_file": "missing_audio",
    "wrong_length": "text_too_long",
    "empty_text": "empty_text",
    "duplicate_id": "duplicate_id",
}
DESCRIPTIONS: dict[Fault, str] = {
    "clipped": "amplified thirty times and cut off at full scale",
    "silent": "all samples zero",
    "truncated": "the file ends after 60 % of its bytes, its header promises all of them",
    "missing_file": "the metadata names a file that is not there",
    "wrong_length": "the text is much too long for the audio",
    "empty_text": "the row has no text",
    "duplicate_id": "the row stands twice",
}
_CLIPPING_GAIN = 30.0
_KEPT_SHARE = 0.6
_WRONG_TEXTS = {
    "en": "this line belongs to another recording and nobody could say all of it in the second or two that this one "
    "lasts because it goes on and on and has far too many letters for so short a take of so few words",
    "zh": "这一行文字属于另外一段录音因为它实在太长了所以没有人能够在这么短的一两秒钟之内把它全部说完"
    "这一行文字属于另外一段录音因为它实在太长了所以没有人能够在这么短的一两秒钟之内把它全部说完",
}


@dataclass(frozen=True)
class PlantedFault:
    """A line of FAULTS.csv."""

    corpus: str
    row_id: str
    file: str
    fault: Fault


def plant(identifiers: Sequence[str], faults: Sequence[Fault], rng: random.Random) -> dict[str, Fault]:
    """Give each fault a row of its own."""
    return dict(zip(rng.sample(identifiers, len(faults)), faults, strict=True))


def damage_waveform(waveform: Waveform, fault: Fault | None) -> Waveform:
    """The samples as the fault leaves them; float32 in [-1, 1]."""
    if fault == "clipped":
        amplified: Waveform = np.clip(_CLIPPING_GAIN * waveform, -1.0, 1.0)
        return amplified
    if fault == "silent":
        return np.zeros_like(waveform)
    return waveform


def damage_file(path: Path, fault: Fault | None) -> None:
    """Cut off or remove the file, where that is the fault."""
    if fault == "truncated":
        data = path.read_bytes()
        path.write_bytes(data[: round(_KEPT_SHARE * len(data))])
    elif fault == "missing_file":
        path.unlink()


def written_text(text: str, language: Literal["en", "zh"], fault: Fault | None) -> str:
    """The text as the corpus' metadata has it."""
    match fault:
        case "wrong_length":
            return _WRONG_TEXTS[language]
        case "empty_text":
            return ""
        case None | "clipped" | "silent" | "truncated" | "missing_file" | "duplicate_id":
            return text
    assert_never(fault)
