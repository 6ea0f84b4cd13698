"""Sounds for a version's page: the first seconds, as an MP3 inside of it.

MP3, because every browser plays it. Shapes: N samples.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from models.errors import ModelError
from models.tokenizers.interface import AudioTokenizer, load_audio_tokenizer
from training_jobs.lake_audio import StoredAudioError, read_waveform
from validation.lake import Lake
from validation.stored_audio import STORED_RATE_HZ

LONGEST_S = 15.0  # of a player: 90 kB as MP3, and 120 kB on the page
_COMPRESSION = 0.75  # of libsndfile's scale: about 48 kbit/s at 22.05 kHz
_LOUDEST = 0.99


@dataclass(frozen=True)
class Sound:
    """A player's MP3 in Base64, how much of the whole it holds, and what it is."""

    mp3: str
    seconds: float
    whole_s: float


@dataclass(frozen=True)
class NoSound:
    """Why there is none, for a person."""

    why: str


def stored_sound(lake: Lake, path: str) -> Sound | NoSound:
    """The beginning of a stored recording."""
    try:
        samples_N, rate_hz = read_waveform(lake, path)
    except StoredAudioError as error:
        return NoSound(str(error))
    return sound_of(samples_N, rate_hz) if samples_N.size else NoSound("its stored file is empty")


def sound_of_tokens(codes: Sequence[int] | None, tokenizer: AudioTokenizer | NoSound) -> Sound | NoSound:
    """The beginning of a reply, by its audio tokens; ``None``: they were not kept."""
    if codes is None:
        return NoSound("the evaluation is of a version of voxline that kept no audio tokens of replies")
    if not codes:
        return NoSound("the reply is silent: it has no audio token")
    if isinstance(tokenizer, NoSound):
        return tokenizer
    known = [code for code in codes if code < tokenizer.vocabulary_size]
    if not known:
        return NoSound(f"none of its {len(codes)} audio tokens is one of the audio tokenizer's")
    first = known[: int(LONGEST_S * tokenizer.frame_rate)]
    try:
        samples_N = tokenizer.decode(first)
    except ModelError as error:
        return NoSound(str(error))
    return sound_of(samples_N, STORED_RATE_HZ, len(known) / tokenizer.frame_rate)


def audio_tokenizer(directory: Path | None) -> AudioTokenizer | NoSound:
    """The one in ``directory``, or why there is none."""
    if directory is None or not directory.is_dir():
        return NoSound("the audio tokenizer of the version is not there any more")
    try:
        return load_audio_tokenizer(directory)
    except ModelError as error:
        return NoSound(str(error))


def sound_of(samples_N: NDArray[np.float32], rate_hz: int, whole_s: float | None = None) -> Sound:
    """The first seconds of a mono waveform for a player."""
    cut_N = np.nan_to_num(samples_N[: round(LONGEST_S * rate_hz)].astype(np.float32))
    buffer = io.BytesIO()
    sf.write(
        buffer,
        np.clip(cut_N, -_LOUDEST, _LOUDEST),
        rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    whole_s = samples_N.size / rate_hz if whole_s is None else whole_s
    return Sound(base64.b64encode(buffer.getvalue()).decode(), cut_N.size / rate_hz, whole_s)
