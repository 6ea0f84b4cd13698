"""The eSpeak NG process: requests as JSON lines on standard input, speech on standard output.

Started as ``python -m assets.sample.espeak`` and never imported: eSpeak NG is GPL-3, so it stays in a process of
its own. Each request ``{"voice": "en-us+m3", "words_per_minute": 150, "pitch": 50, "text": "…"}`` is answered by
the number of samples (int32, little-endian) and the samples (int16, little-endian, mono). The first answer, before
any request, is the sampling rate in Hz (int32). Anything wrong ends the process with a line on standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import espeakng_loader
import numpy as np

from validation.errors import UserError

# Constants of eSpeak NG's speak_lib.h, 1.52.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_OK = 0
_SEED = 1

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, ready to speak.

    Raises:
        RuntimeError: if it finds no voices.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        # It keeps the path of its data in 160 characters, and virtual environments lie deep: a relative one fits.
        os.chdir(Path(espeakng_loader.get_data_path()).parent)
        self.rate_hz: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, b".", 0)
        if self.rate_hz <= 0:
            raise RuntimeError(f"eSpeak NG found no voices in {Path.cwd()}")
        self._chunks: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self._callback = _CALLBACK(self._collect)  # kept, else it is freed while the library calls it
        self._library.espeak_SetSynthCallback(self._callback)
        self._c_library = ctypes.CDLL(None)

    def _collect(self, samples: Any, count: int, _events: int) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def _has_variant(self, variant: str) -> bool:
        return not variant or Path("espeak-ng-data", "voices", "!v", variant).is_file()

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> bytes:
        """``text`` as int16 samples, little-endian, mono, at :attr:`rate_hz`.

        Raises:
            UserError: for a voice that eSpeak NG does not have, or a text that it says nothing for.
        """
        _, _, variant = voice.partition("+")
        # It takes an unknown variant without a word and speaks with the plain voice.
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK or not self._has_variant(variant):
            raise UserError(f"eSpeak NG has no voice {voice!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
        # Some voices flutter and breathe at random, by its own generator and C's: the same at every call here.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        self._c_library.srand(_SEED)
        self._chunks.clear()
        data = text.encode() + b"\0"
        status = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data)), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if status != _OK or not self._chunks:
            raise UserError(f"eSpeak NG does not speak {text!r} with voice {voice!r} (status {status})")
        return np.concatenate(self._chunks).astype("<i2").tobytes()


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until standard input ends."""
    espeak = Espeak()
    answers.write(struct.pack("<i", espeak.rate_hz))
    answers.flush()
    for line in requests:
        samples = espeak.speak(**json.loads(line))
        answers.write(struct.pack("<i", len(samples) // 2))
        answers.write(samples)
        answers.flush()


if __name__ == "__main__":
    try:
        main(sys.stdin.buffer, sys.stdout.buffer)
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
