"""The stored form of audio (DESIGN §6): mono WAV, 16 bit, at the decoder's rate."""

from __future__ import annotations

STORED_RATE_HZ = 22_050
WAV_HEADER_BYTES = 44
