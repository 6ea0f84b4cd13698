"""Decoding by the ffmpeg of a wheel, a process of its own, for what libsndfile does not know: MP4, WebM and others.

A hostile file gets no more than the time and memory set here. The demuxer is named, so that no playlist passes for a
recording; the recording is a descriptor, and no protocol is allowed that opens another file or the network.
"""

from __future__ import annotations

import re
import resource
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from assets.audio.containers import Container
from assets.audio.decoder import DecodeError
from validation.errors import UserError

# ffmpeg's demuxer of each container, and whether the duration that it tells is the header's own. For the others it is
# estimated from the rate of bits, and promises nothing.
_DEMUXERS: dict[Container, tuple[str, bool]] = {
    "mp4": ("mov", True),
    "matroska": ("matroska", True),
    "asf": ("asf", True),
    "wavpack": ("wv", True),
    "tta": ("tta", True),
    "ape": ("ape", True),
    "caf": ("caf", True),
    "amr": ("amr", False),
    "aac": ("aac", False),
    "wav": ("wav", False),
    "aiff": ("aiff", False),
    "ogg": ("ogg", False),
    "au": ("au", False),
    "sphere": ("nistsphere", False),
}
CPU_LIMIT_S = 1_800  # of one recording: a day of AAC takes a fifth of it
_MEMORY_LIMIT_BYTES = 2 << 30
_ALLOCATION_LIMIT_BYTES = 256 << 20
_MOST_TOLD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20
_AU_HEADER_BYTES = 24
_SAMPLE_BYTES = 4
# Where ffmpeg's own words stand: a recording's tags are told before them, further in.
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_CODEC = re.compile(r"^  Stream #0:\d+\S*: Audio: (\w+)", re.MULTILINE)
_OUTPUT = re.compile(rb"^Output #0", re.MULTILINE)
_ERROR = re.compile(r"(?i)error|invalid|failed(?! *!)|cannot|could not|missing|unable|not found")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")


class FfmpegMissingError(UserError):
    """This machine has no ffmpeg that starts: no fault of a recording."""


def is_known(container: Container) -> bool:
    """Whether ffmpeg is asked at all for recordings of that container."""
    return container in _DEMUXERS


class FfmpegDecoder:
    """A :class:`assets.audio.decoder.Decoder` over a running ffmpeg.

    Attributes:
        stated_s: The duration that the header states, in seconds; ``None`` where it states none.
    """

    seeks_exactly = False
    frames: int | None = None

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None and process.stderr is not None
        self._process = process
        self._samples: IO[bytes] = process.stdout
        self._told = bytearray()
        self._input_is_told = threading.Event()
        # ffmpeg would wait for ever for somebody to read what it says.
        self._listener = threading.Thread(target=self._listen, args=(process.stderr,), daemon=True)
        self._listener.start()
        self.rate_hz = self.channels = 0
        self.format = ""
        self.stated_s: float | None = None

    def start(self, container: Container) -> None:
        """Read what comes before the samples.

        Raises:
            DecodeError: if ffmpeg finds none.
        """
        header = self._samples.read(_AU_HEADER_BYTES)
        offset = int.from_bytes(header[4:8], "big")
        self.rate_hz, self.channels = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
        if header[:4] != b".snd" or offset < _AU_HEADER_BYTES or not self.rate_hz or not self.channels:
            raise DecodeError(f"does not decode as {container}: {self._last_words()}")
        self._samples.read(offset - _AU_HEADER_BYTES)
        self._input_is_told.wait()
        told = self._text()
        codec, duration = _CODEC.search(told), _DURATION.search(told)
        self.format = f"{container.upper()}/{codec[1].upper() if codec else 'UNKNOWN'}"
        if duration is not None and _DEMUXERS[container][1]:
            hours, minutes, seconds = duration.groups()
            self.stated_s = 3600 * int(hours) + 60 * int(minutes) + float(seconds)

    def read(self, count: int) -> NDArray[np.float32]:
        """See :class:`assets.audio.decoder.Decoder`."""
        # Memory that is not written to is not taken: the end may come long before.
        samples = np.empty((count, self.channels), dtype=">f4")
        room = samples.view(np.uint8).reshape(-1).data
        filled = 0
        while filled < len(room):
            read = self._samples.readinto(room[filled : filled + _BLOCK_BYTES])  # type: ignore[attr-defined]
            if not read:
                self._refuse_failure()
                break
            filled += read
        whole = samples[: filled // (_SAMPLE_BYTES * self.channels)]
        swapped: NDArray[np.float32] = whole.byteswap(inplace=True).view(np.float32)
        return swapped

    def seek(self, frame: int) -> None:
        """Not possible."""
        raise NotImplementedError

    def _refuse_failure(self) -> None:
        code = self._process.wait()
        if code < 0:
            raise DecodeError(
                f"ended ffmpeg by signal {-code}; it may take {CPU_LIMIT_S} s of a processor and "
                f"{_MEMORY_LIMIT_BYTES >> 30} GiB"
            )
        if code:
            raise DecodeError(f"does not decode: {self._last_words()}")

    def _listen(self, told: IO[bytes]) -> None:
        # The beginning describes the input, the end says what went wrong.
        while block := told.read1(1 << 12):  # type: ignore[attr-defined]  # a BufferedReader, typed as IO
            self._told += block
            if _OUTPUT.search(self._told):
                self._input_is_told.set()
            if len(self._told) > _MOST_TOLD_BYTES:
                del self._told[_MOST_TOLD_BYTES // 2 : -_MOST_TOLD_BYTES // 4]
        self._input_is_told.set()

    def close(self) -> None:
        """End ffmpeg, wherever it is."""
        self._process.kill()
        self._listener.join()

    def _text(self) -> str:
        return self._told.decode("utf-8", "replace")

    def _last_words(self) -> str:
        code = self._process.wait()
        self._listener.join()
        if code < 0:
            return f"signal {-code} ended ffmpeg"
        lines = [line.strip() for line in self._text().splitlines() if _ERROR.search(line)]
        return _ADDRESS.sub("", lines[-1])[:200] if lines else "ffmpeg does not say why"


@contextmanager
def opened_by_ffmpeg(recording: IO[bytes], container: Container) -> Iterator[FfmpegDecoder]:
    """Start ffmpeg over a recording that lies in a regular file.

    Raises:
        DecodeError: if it does not open.
        FfmpegMissingError: if ffmpeg itself does not start.
    """
    demuxer, _ = _DEMUXERS[container]
    command = [
        _executable(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "info",
        "-max_alloc", str(_ALLOCATION_LIMIT_BYTES), "-timelimit", str(CPU_LIMIT_S), "-threads", "1",
        "-xerror", "-err_detect", "explode", "-protocol_whitelist", "fd",
        "-f", demuxer, "-fd", "0", "-i", "fd:",
        "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-bitexact",
        "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip
    with _started(command, recording) as process:
        resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
        decoder = FfmpegDecoder(process)
        try:
            decoder.start(container)
            yield decoder
        finally:
            decoder.close()


def _started(command: list[str], recording: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=recording, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise FfmpegMissingError(f"{command[0]} does not start: {error.strerror}") from error


@lru_cache(maxsize=1)
def _executable() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegMissingError(f"no ffmpeg is found: {error}") from error
