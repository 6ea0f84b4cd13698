"""Which rows are outside which threshold: asked of a whole table at once, and told row by row for those that are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from validation.reasons import Reason
from validation.thresholds import Thresholds, primary_language_expr


@dataclass(frozen=True, slots=True)
class Violation:
    """One measure outside its limit; ``detail`` names both with their unit."""

    reason: Reason
    value: float
    limit: float
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """A column against a threshold; either sign counts where ``is_absolute``.

    Attributes:
        from_s: What is shorter than this says too little to be told.
        margin: What keeps the limit by no more than this is meant, in the limit's unit; 0: what does not keep it.
    """

    column: str
    side: Literal["min", "max"]
    threshold: str
    reason: Reason
    words: str
    unit: str = ""
    is_absolute: bool = False
    from_s: float = 0.0
    margin: float = 0.0

    @property
    def inwards(self) -> float:
        """From the limit to where the check begins to hold."""
        return self.margin if self.side == "min" else -self.margin


# Order is the order of importance: the first violation becomes the ledger's reason. What a defect brings about (a
# silent file has no band and no SNR, either) comes after the defect.
CHECKS: tuple[Check, ...] = (
    Check("nonfinite_samples", "max", "max_nonfinite_samples", "non_finite", "NaN or infinite samples"),
    Check("level_dbfs", "min", "silence_level_dbfs", "silent", "level", " dBFS"),
    Check("duration_s", "min", "min_duration_s", "too_short", "duration", " s"),
    Check("duration_s", "max", "max_duration_s", "too_long", "duration", " s"),
    Check("source_rate_hz", "min", "min_sample_rate_hz", "sample_rate", "sample rate", " Hz"),
    Check("source_rate_hz", "max", "max_sample_rate_hz", "sample_rate", "sample rate", " Hz"),
    Check("dead_channels", "max", "max_dead_channels", "dead_channel", "channels without sound"),
    Check(
        "channel_correlation", "min", "min_channel_correlation", "anti_phase", "correlation of the channels"
    ),
    Check("dc_offset", "max", "max_dc_offset", "dc_offset", "DC offset", " of full scale", is_absolute=True),
    Check("clipped_share", "max", "max_clipped_share", "clipped", "clipped share"),
    Check("longest_clip_s", "max", "max_longest_clip_s", "clipped", "longest run at the ceiling", " s"),
    Check("level_dbfs", "max", "max_level_dbfs", "too_loud", "level", " dBFS"),
    Check("level_dbfs", "min", "min_level_dbfs", "too_quiet", "level", " dBFS"),
    Check("longest_dropout_s", "max", "max_longest_dropout_s", "dropout", "longest drop-out", " s"),
    Check("silence_share", "max", "max_silence_share", "mostly_silence", "silence share"),
    Check("leading_silence_s", "max", "max_leading_silence_s", "long_silence", "silence at the start", " s"),
    Check("trailing_silence_s", "max", "max_trailing_silence_s", "long_silence", "silence at the end", " s"),
    Check("snr_db", "min", "min_snr_db", "noisy", "signal-to-noise ratio", " dB"),
    # A phrase need have no pause in which its noise could be heard.
    Check("snr_db", "min", "review_snr_db", "very_noisy", "signal-to-noise ratio", " dB", from_s=3.0),
    Check("hum_db", "max", "max_hum_db", "hum", "hum over the speech", " dB"),
    Check("dynamic_range_db", "min", "min_dynamic_range_db", "no_dynamics", "dynamic range", " dB"),
    Check("bandwidth_hz", "min", "min_bandwidth_hz", "narrow_band", "bandwidth", " Hz"),
    Check(
        "bandwidth_share", "min", "min_bandwidth_share", "upsampled", "bandwidth, of what the rate carries,"
    ),
    Check("speech_share", "min", "min_speech_share", "no_speech", "speech share"),
    Check("mos", "min", "min_mos", "low_mos", "DNSMOS"),
    Check("control_characters", "max", "max_control_characters", "control_characters", "control characters"),
    Check("unwanted_words", "max", "max_unwanted_words", "unwanted_words", "unwanted words"),
    Check("repeated_share", "max", "max_repeated_share", "repetitive_text", "repeated share of the text"),
    Check("script_share", "min", "min_script_share", "wrong_script", "letters in the language's script"),
    Check(
        "language_probability",
        "min",
        "min_language_probability",
        "wrong_language",
        "probability of the language",
    ),
    Check("text_occurrences", "max", "max_text_occurrences", "template_text", "rows with the same text"),
    Check(
        "chars_per_second",
        "min",
        "min_chars_per_second",
        "text_too_short",
        "text against audio",
        " characters/s",
    ),
    Check(
        "chars_per_second",
        "max",
        "max_chars_per_second",
        "text_too_long",
        "text against audio",
        " characters/s",
    ),
    Check("word_error_rate", "max", "max_word_error_rate", "transcript_mismatch", "word error rate"),
    Check("char_error_rate", "max", "max_char_error_rate", "transcript_mismatch", "character error rate"),
    Check(
        "rate_deviation",
        "max",
        "max_rate_deviation",
        "text_rate_outlier",
        "deviation of characters/s from the corpus' own",
        is_absolute=True,
    ),
)

# What is told of rows that are accepted all the same.
NOTES: tuple[Check, ...] = (
    Check("snr_db", "min", "note_snr_db", "background_noise", "signal-to-noise ratio", " dB", from_s=3.0),
)


def checks_of(thresholds: Thresholds) -> tuple[Check, ...]:
    """:data:`CHECKS`, and after them those of rows that are near a limit which the thresholds have reviewed."""
    within = thresholds.review_within
    return CHECKS + tuple(
        replace(check, reason="near_limit", margin=within[check.threshold])
        for check in CHECKS
        if check.threshold in within
    )


class RowChecks:
    """Asks checks of one row after the other.

    Args:
        checks: Of :func:`checks_of`, or :data:`NOTES` for what does not keep a row from being accepted.
    """

    def __init__(self, thresholds: Thresholds, checks: tuple[Check, ...] = CHECKS) -> None:
        self._thresholds = thresholds
        self._checks = checks
        self._limits: dict[str, list[tuple[Check, float]]] = {}

    def violations(self, measures: Mapping[str, Any], language: str) -> list[Violation]:
        """What a row violates, the most important first.

        Args:
            measures: Columns of ``audio_quality`` and of the text measures; one that is absent or ``None`` was not
                taken.
            language: A language tag such as ``en`` or ``zh-CN``, for the limits that depend on it.
        """
        found = []
        duration_s = measures.get("duration_s")
        for check, limit in self._of(language):
            value = measures.get(check.column)
            if value is None or (duration_s is not None and duration_s < check.from_s):
                continue
            size = abs(value) if check.is_absolute else value
            edge = limit + check.inwards
            is_past = math.isnan(size) or _is_beyond(size, limit, check.side)
            # What is past its limit ends for that: nobody is asked whether it is near.
            if is_past if not check.margin else not is_past and _is_beyond(size, edge, check.side):
                relation = "below" if check.side == "min" else "above"
                sign = 1.0
                if check.is_absolute and value < 0:  # then the limit that it meets is the one below zero
                    relation, sign = "below", -1.0
                if check.margin:
                    relation = f"within {check.margin:g}{check.unit} of"
                told = f"{sign * limit:g}{check.unit}"
                detail = f"{check.words} {value:.6g}{check.unit} is {relation} the limit of {told}"
                found.append(Violation(check.reason, float(value), sign * edge, detail))
        return found

    def _of(self, language: str) -> list[tuple[Check, float]]:
        limits = self._limits.get(language)
        if limits is None:
            limits = [(check, self._thresholds.limit(check.threshold, language)) for check in self._checks]
            self._limits[language] = limits
        return limits


def _is_beyond(size: float, limit: float, side: Literal["min", "max"]) -> bool:
    return size < limit if side == "min" else size > limit


def is_outside(thresholds: Thresholds, columns: Sequence[str], checks: tuple[Check, ...] = CHECKS) -> pl.Expr:
    """Whether a row of a table with these columns, ``language`` among them, violates any check.

    Equal to asking :class:`RowChecks` of each row, at the cost of a comparison per column.
    """
    outside = [_is_outside(thresholds, check) for check in checks if check.column in columns]
    return pl.any_horizontal(outside) if outside else pl.lit(False)


def _is_outside(thresholds: Thresholds, check: Check) -> pl.Expr:
    column = pl.col(check.column).cast(pl.Float64)
    size = column.abs() if check.is_absolute else column
    threshold = getattr(thresholds, check.threshold)
    if isinstance(threshold, dict):
        limit = primary_language_expr().replace_strict(
            threshold, default=threshold["default"], return_dtype=pl.Float64
        )
    else:
        limit = pl.lit(float(threshold))
    edge = limit + check.inwards
    beyond = size < edge if check.side == "min" else size > edge
    outside = (beyond | size.is_nan()).fill_null(False)
    return outside & (pl.col("duration_s") >= check.from_s).fill_null(True) if check.from_s else outside
