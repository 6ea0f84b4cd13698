"""What one variant of a recording went through: the values drawn for it, as they are recorded and applied."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from validation.digests import digest_value

# Raised whenever the same values give another waveform (training_jobs.augment): what was made before is then made anew.
VERSION = 1


@dataclass(frozen=True)
class MixedNoise:
    """A piece of a recording that is mixed in.

    Attributes:
        audio_path: Of the noise in its stored form, relative to the lake's root.
        audio_digest: Of its samples.
        offset_s: Where the piece begins; it goes on at the start where the recording ends.
        snr_db: Power of the speech over that of the piece.
    """

    corpus: str
    utterance_id: str
    licence: str
    audio_path: str
    audio_digest: str
    offset_s: float
    snr_db: float


@dataclass(frozen=True)
class Augmentation:
    """Drawn values, in the order in which they are applied; ``None`` is left out.

    Attributes:
        speed: Factor, above 1 faster.
        pitch: Semitones up.
        formant: Semitones up.
        band: Lowest and highest frequency that is left, in Hz; 0: no lowest one.
        gain: In dB.
    """

    speed: float | None = None
    pitch: float | None = None
    formant: float | None = None
    noise: MixedNoise | None = None
    band: tuple[float, float] | None = None
    gain: float | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether it leaves the recording as it is."""
        return not self._values()

    @cached_property
    def digest(self) -> str:
        """Digest of all that the waveform depends on besides the recording; where the noise lies is not of it."""
        values = self._values()
        if self.noise is not None:
            values["noise"] = {name: values["noise"][name] for name in ("audio_digest", "offset_s", "snr_db")}
        return digest_value({"version": VERSION, **values})

    def to_json(self) -> str:
        """One line with what was drawn; nothing of what was not."""
        return json.dumps(self._values(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Augmentation:
        """What :meth:`to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        if "noise" in values:
            values["noise"] = MixedNoise(**values["noise"])
        if "band" in values:
            low_hz, high_hz = values["band"]
            values["band"] = (low_hz, high_hz)
        return cls(**values)

    def frames_of(self, frames: int) -> int:
        """Length of the variant of a recording of ``frames``: only the speed changes it."""
        return frames if self.speed is None else max(round(frames / self.speed), 1)

    def _values(self) -> dict[str, Any]:
        values = {
            "speed": self.speed,
            "pitch": self.pitch,
            "formant": self.formant,
            "noise": None if self.noise is None else dict(vars(self.noise)),
            "band": None if self.band is None else list(self.band),
            "gain": self.gain,
        }
        return {name: value for name, value in values.items() if value is not None}
