"""What a recording without a header is, as its corpus declares it: ``s16le/16000/1``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from assets.audio.containers import SUFFIXES
from validation.errors import UserError

# Encoding: libsndfile's name of it, byte order, and bytes per sample.
ENCODINGS: dict[str, tuple[str, str, int]] = {
    "s8": ("PCM_S8", "FILE", 1),
    "u8": ("PCM_U8", "FILE", 1),
    **{
        f"s{bits}{short}": (f"PCM_{bits}", order, bits // 8)
        for bits in (16, 24, 32)
        for short, order in (("le", "LITTLE"), ("be", "BIG"))
    },
    **{
        f"f{bits}{short}": (name, order, bits // 8)
        for bits, name in ((32, "FLOAT"), (64, "DOUBLE"))
        for short, order in (("le", "LITTLE"), ("be", "BIG"))
    },
    "ulaw": ("ULAW", "FILE", 1),
    "alaw": ("ALAW", "FILE", 1),
}
_MOST_CHANNELS = 64
_MOST_HZ = 384_000


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Encoding, samples per second and channels (interleaved) of headerless samples; ``str()`` is the notation.

    Raises:
        UserError: on making one that is not possible, naming the value and what is allowed.
    """

    encoding: str
    rate_hz: int
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise UserError(f"unknown encoding {self.encoding!r}; allowed are {', '.join(ENCODINGS)}")
        if not 1 <= self.rate_hz <= _MOST_HZ or not 1 <= self.channels <= _MOST_CHANNELS:
            raise UserError(
                f"{self.rate_hz} Hz and {self.channels} channels; allowed are 1 to {_MOST_HZ} Hz and 1 to "
                f"{_MOST_CHANNELS} channels"
            )

    def __str__(self) -> str:
        return f"{self.encoding}/{self.rate_hz}/{self.channels}"

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """The format of a notation ``encoding/rate`` or ``encoding/rate/channels``.

        Raises:
            UserError: if it is none.
        """
        encoding, *numbers = text.strip().split("/")
        if not 1 <= len(numbers) <= 2 or not all(number.isascii() and number.isdigit() for number in numbers):
            raise UserError(
                f"{text!r:.80} is no raw format; wanted is encoding/rate/channels, such as s16le/16000/1"
            )
        return cls(encoding, *(int(number[:9]) for number in numbers))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return ENCODINGS[self.encoding][2] * self.channels


def is_raw_name(name: str) -> bool:
    """Whether files of that extension have no header (``.raw``, ``.pcm``)."""
    return SUFFIXES.get(PurePosixPath(name).suffix.lower()) == "raw"
