"""The stored forms of audio (DESIGN §6): mono WAV, 16 bit, at the decoder's rate, and a view at the tokenizers'."""

from __future__ import annotations

from typing import Literal, get_args

STORED_RATE_HZ = 22_050
VIEW_RATE_HZ = 16_000
WAV_HEADER_BYTES = 44
AUDIO_FOLDER = "audio_22k"
VIEW_FOLDER = "audio_16k"

GainLimit = Literal["target", "max_gain", "peak", "full_scale", "silence"]
GAIN_LIMITS: tuple[GainLimit, ...] = get_args(GainLimit)
