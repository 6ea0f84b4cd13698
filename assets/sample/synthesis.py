"""Speech for the sample corpora: takes, spoken by the eSpeak NG process."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO

import numpy as np
import numpy.typing as npt

from assets.sample.voices import Voice
from validation.errors import UserError

Waveform = npt.NDArray[np.float32]
_INT16_FULL_SCALE = 32_768.0
# eSpeak NG starts and ends on the first and last phoneme; recordings have a breath around it, here one token's worth.
_PADDING_S = 0.08


class SampleError(UserError):
    """The sample corpora cannot be spoken or written; says what to do."""


@dataclass(frozen=True)
class Take:
    """One text, spoken once by one voice; the offsets make no two takes of a voice alike."""

    text: str
    voice: Voice
    pace_offset: int
    pitch_offset: int


class Speech:
    """A running eSpeak NG process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._requests: IO[bytes] = process.stdin
        self._answers: IO[bytes] = process.stdout
        self.rate_hz = self._read_number()

    def speak(self, take: Take) -> Waveform:
        """The take as mono float32 in [-1, 1] at :attr:`rate_hz`, with 80 ms of silence before and after it.

        Raises:
            SampleError: with the process's own words, if it ends.
        """
        request = {
            "text": take.text,
            "voice": take.voice.espeak,
            "words_per_minute": take.voice.words_per_minute + take.pace_offset,
            "pitch": take.voice.pitch + take.pitch_offset,
        }
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        samples = np.frombuffer(self._read(2 * self._read_number()), dtype="<i2")
        return np.pad(samples.astype(np.float32) / _INT16_FULL_SCALE, round(_PADDING_S * self.rate_hz))

    def _read_number(self) -> int:
        number: int = struct.unpack("<i", self._read(4))[0]
        return number

    def _read(self, size: int) -> bytes:
        data = self._answers.read(size)
        if len(data) < size:
            raise self._ended()
        return data

    def _ended(self) -> SampleError:
        _, message = self._process.communicate()
        said = message.decode(errors="replace").strip() or f"exit status {self._process.returncode}"
        return SampleError(f"the eSpeak NG process ended: {said}")


@contextmanager
def speech() -> Iterator[Speech]:
    """Start the eSpeak NG process, and end it with the block.

    Raises:
        SampleError: if the extra ``sample`` is not installed.
    """
    # Looked up, not imported: the GPL library is loaded by the other process only.
    if find_spec("espeakng_loader") is None:
        raise SampleError(
            "speaking the sample corpora needs espeakng_loader (eSpeak NG, GPL-3), which is an extra: "
            "pip install -c constraints.txt -e '.[sample]'"
        )
    command = [sys.executable, "-m", "assets.sample.espeak"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield Speech(process)
        finally:
            # It ends when its input does; an error on our side must not wait for one that hangs.
            if process.poll() is None:
                process.terminate()
