"""What reads samples forwards from an opened recording, whichever library does it.

Shapes: N samples, C channels.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class DecodeError(Exception):
    """The recording does not decode from here on; says why, in words that are the same in every run."""


class Decoder(Protocol):
    """Samples of a recording, full scale 1, read once and forwards.

    Attributes:
        frames: How many samples the recording states to have; ``None`` where it does not.
        format: Container and codec, for people and tables.
        stated_s: The duration that the header states, where that is no count of samples; in seconds.
        seeks_exactly: Whether :meth:`seek` leads to the very samples that reading up to there does.
    """

    rate_hz: int
    channels: int
    frames: int | None
    format: str
    stated_s: float | None
    seeks_exactly: bool

    def read(self, count: int) -> NDArray[np.float32]:
        """The next ``count`` samples, shape (N, C); fewer at the end only.

        Raises:
            DecodeError: if they cannot be decoded.
        """

    def seek(self, frame: int) -> None:
        """Go on at ``frame``; only where :attr:`seeks_exactly`."""
