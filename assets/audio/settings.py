"""What a corpus' entry says of its audio: rates, loudness, channels, and how long recordings are cut."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from validation.digests import digest_value
from validation.strict import StrictKeys

ChannelPolicy = Literal["mix", "first", "best", "split"]


class _Settings(StrictKeys):
    model_config = ConfigDict(allow_inf_nan=False)


class Loudness(_Settings):
    """A loudness that all recordings are brought to.

    Attributes:
        method: ``r128``: integrated loudness (BS.1770); ``rms``: the root mean square.
        target: In LUFS or dBFS. -23 is EBU R 128's.
        max_gain_db: What a recording is amplified by at most; noise is amplified with it.
    """

    method: Literal["r128", "rms"]
    target: float = Field(default=-23.0, ge=-60.0, le=-5.0)
    max_gain_db: float = Field(default=20.0, ge=0.0, le=60.0)


class AudioSettings(_Settings):
    """How the recordings of a corpus are stored.

    Attributes:
        view_16k: Also store each recording at 16 kHz, made from the source, for tokenizers of that rate.
        loudness: ``None`` keeps the recorded gain.
        channels: ``mix``: their mean, without dead ones; ``first``; ``best``: the cleanest; ``split``: a row each.
    """

    view_16k: bool = False
    loudness: Loudness | None = None
    channels: ChannelPolicy = "mix"

    @property
    def digest(self) -> str:
        """What of a stored recording these settings determine."""
        return digest_value(self.model_dump(mode="json"))


class Segmentation(_Settings):
    """How long recordings without a text are cut into pieces, at pauses.

    Attributes:
        min_s: Seconds that a piece should last at least; shorter speech gets more of the pause around it.
        max_s: Seconds that no piece is longer than.
        margin_s: Seconds of pause that a piece keeps before and after its speech.
        pause_s: Seconds without speech that make a pause.
    """

    min_s: float = Field(default=3.0, ge=0.5, le=60.0)
    max_s: float = Field(default=30.0, ge=2.0, le=300.0)
    margin_s: float = Field(default=0.1, ge=0.0, le=1.0)
    pause_s: float = Field(default=0.3, ge=0.1, le=5.0)

    @model_validator(mode="after")
    def _fits(self) -> Segmentation:
        if self.max_s < 3 * self.min_s:
            raise ValueError(f"max_s {self.max_s:g} must be at least three times min_s {self.min_s:g}")
        if 2 * self.margin_s > self.min_s or self.pause_s > self.min_s:
            raise ValueError(
                f"two margins of margin_s {self.margin_s:g}, and pause_s {self.pause_s:g}, must fit into min_s "
                f"{self.min_s:g}"
            )
        return self
