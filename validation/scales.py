"""The axes on which measures are counted and drawn: the same for every corpus, so that two pages can be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

CELLS_PER_BIN = 50


@dataclass(frozen=True, slots=True)
class Scale:
    """How one column of ``audio_quality`` is counted and drawn.

    Values beyond the axis are counted in its first and last bin.

    Attributes:
        unit: Of what is drawn; a value of the table divided by :attr:`per_unit`.
        low: Where the axis begins, in the table's unit; likewise :attr:`high`.
        spread: The least interquartile range that a shift of the median is measured by: below it, recordings differ
            by less than anybody hears.
        is_main: Whether it is among those that everyone looks at first.
    """

    column: str
    label: str
    unit: str
    low: float
    high: float
    bins: int
    spread: float
    is_main: bool = False
    is_log: bool = False
    per_unit: float = 1.0
    decimals: int = 1

    def position(self, value: float) -> float:
        """Where a value lies on the axis: 0 at its begin, 1 at its end, and beyond."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, 1e-9))
        return (at - low) / (high - low)

    def value(self, position: float) -> float:
        """The value at a position."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** position)
        return self.low + position * (self.high - self.low)

    def text(self, value: float) -> str:
        """The value for a person, without its unit."""
        rounded = round(value / self.per_unit, self.decimals) + 0.0  # no -0.0
        return f"{rounded:,.{self.decimals}f}"


SCALES: tuple[Scale, ...] = (
    Scale("duration_s", "duration", "s", 0.1, 100.0, 48, 0.05, is_main=True, is_log=True, decimals=2),
    Scale("snr_db", "signal-to-noise ratio", "dB", -10.0, 90.0, 50, 1.0, is_main=True),
    Scale("bandwidth_hz", "bandwidth", "kHz", 0.0, 24_000.0, 48, 200.0, is_main=True, per_unit=1000.0),
    Scale("level_dbfs", "level", "dBFS", -90.0, 0.0, 45, 1.0, is_main=True),
    Scale("speech_share", "speech share", "of the time", 0.0, 1.0, 50, 0.02, is_main=True, decimals=2),
    Scale("chars_per_second", "characters per second", "1/s", 0.0, 40.0, 40, 0.5, is_main=True),
    Scale("loudness_lufs", "loudness", "LUFS", -70.0, 0.0, 35, 1.0),
    Scale("peak_dbfs", "peak", "dBFS", -60.0, 0.0, 40, 1.0),
    Scale("dynamic_range_db", "dynamic range", "dB", 0.0, 80.0, 40, 1.0),
    Scale("silence_share", "silence share", "of the time", 0.0, 1.0, 50, 0.02, decimals=2),
    Scale("leading_silence_s", "silence at the start", "s", 0.0, 5.0, 50, 0.1, decimals=2),
    Scale("trailing_silence_s", "silence at the end", "s", 0.0, 5.0, 50, 0.1, decimals=2),
    Scale("rumble_db", "rumble", "dB", -80.0, 40.0, 40, 3.0),
    Scale("hum_db", "hum", "dB", -80.0, 40.0, 40, 3.0),
    Scale("bandwidth_share", "bandwidth, of the rate's", "share", 0.0, 1.0, 50, 0.02, decimals=2),
    Scale("clipped_share", "clipped share", "of samples", 0.0, 0.05, 50, 0.001, decimals=4),
    Scale("longest_clip_s", "longest clip", "ms", 0.0, 0.05, 50, 0.001, per_unit=1e-3),
    Scale("longest_dropout_s", "longest drop-out", "ms", 0.0, 0.2, 50, 0.005, per_unit=1e-3),
    Scale("dc_offset", "DC offset", "of full scale", -0.2, 0.2, 40, 0.002, decimals=4),
    Scale("channel_correlation", "channel correlation", "", -1.0, 1.0, 50, 0.05, decimals=2),
    Scale("rate_deviation", "characters per second, z-score", "", -12.0, 12.0, 48, 0.5),
    Scale("mos", "DNSMOS", "of 5", 1.0, 5.0, 40, 0.1, decimals=2),
    Scale("word_error_rate", "word error rate", "", 0.0, 2.0, 40, 0.02, decimals=2),
    Scale("char_error_rate", "character error rate", "", 0.0, 2.0, 40, 0.02, decimals=2),
)
SCALE_OF: dict[str, Scale] = {scale.column: scale for scale in SCALES}
