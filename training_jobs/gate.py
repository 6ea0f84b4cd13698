"""Whether a candidate becomes champion: a pure function of figures, comparisons and thresholds.

By itself a candidate must be of use: the figures are those of Boost, in which the model is served; Vanilla's stand
beside them where the two are compared. Against the champion it is judged by the comparisons of a duel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from training_jobs.comparison import Comparison
from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping

# The figure that a model is judged by on its own: the first of these that its held-out rows give.
_OWN_WORTH = ("asr_known_wer", "asr_unseen_wer", "asr_unstated_wer")


class GateThresholds(Strict):
    """What ``gate.yaml`` says."""

    max_wer: float = Field(gt=0, le=1)
    max_boost_wer_gap: float = Field(ge=0)
    min_boost_speedup: float = Field(ge=0)
    max_wer_increase: float = Field(ge=0)
    max_exact_decrease: float = Field(ge=0)
    max_first_chunk_increase: float = Field(ge=0)
    max_throughput_decrease: float = Field(ge=0, lt=1)
    timing_repeats: int = Field(ge=5)
    most_timing_repeats: int = Field(ge=5)

    @model_validator(mode="after")
    def _can_go_on(self) -> GateThresholds:
        if self.most_timing_repeats < self.timing_repeats:
            raise ValueError(
                f"most_timing_repeats is {self.most_timing_repeats}, less than the {self.timing_repeats} of "
                "timing_repeats"
            )
        return self


@dataclass(frozen=True)
class Figures:
    """What was measured of one version.

    Attributes:
        scores: Boost's overall figures of the evaluation; names end in ``_wer`` or ``_exact``.
        vanilla_scores: Vanilla's.
        tokens_per_second: median per decode mode.
        first_chunk_ms: Boost's median time to the first audio chunk.
        hardware: digest of the machine the latencies were taken on.
        held_out: digest of the rows the scores were taken on.
    """

    scores: Mapping[str, float]
    vanilla_scores: Mapping[str, float]
    tokens_per_second: Mapping[str, float]
    first_chunk_ms: float
    hardware: str
    held_out: str


@dataclass
class GateDecision:
    """The outcome: every check in words with both numbers, what could not be compared, and what weakens a check."""

    held: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every check that was made held."""
        return not self.failed

    @property
    def reasons(self) -> list[str]:
        """All checks, failures first."""
        return [
            *(f"failed: {line}" for line in self.failed),
            *(f"held: {line}" for line in self.held),
            *(f"not compared: {line}" for line in self.skipped),
            *(f"note: {line}" for line in self.notes),
        ]

    def check(self, holds: bool, line: str) -> None:
        """Note one check."""
        (self.held if holds else self.failed).append(line)


def load_thresholds(path: Path | None = None) -> GateThresholds:
    """The thresholds in ``gate.yaml``, or in a file of the same form.

    Raises:
        ConfigurationError: naming the file, the entry and the value.
    """
    path = path or Path(str(files("training_jobs") / "gate.yaml"))
    try:
        return GateThresholds.model_validate(read_yaml_mapping(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from error


def decide_alone(candidate: Figures, thresholds: GateThresholds) -> GateDecision:
    """Check the candidate by itself."""
    decision = GateDecision()
    decision.check(
        bool(candidate.scores), f"{len(candidate.scores)} figures of held-out rows in Boost, at least 1"
    )
    figures = {
        **{f"boost {name}": value for name, value in candidate.scores.items()},
        **{f"vanilla {name}": value for name, value in candidate.vanilla_scores.items()},
        **{f"{mode} tokens per second": value for mode, value in candidate.tokens_per_second.items()},
        "first chunk": candidate.first_chunk_ms,
    }
    for name, value in figures.items():
        if not math.isfinite(value):
            decision.check(False, f"{name} is {value}, not a finite number")

    _own_worth(decision, candidate, thresholds)
    boost, vanilla = candidate.tokens_per_second["boost"], candidate.tokens_per_second["vanilla"]
    least = thresholds.min_boost_speedup * vanilla
    decision.check(
        boost > least,
        f"Boost's {boost:.1f} tokens per second are more than {least:.1f} (Vanilla {vanilla:.1f})",
    )
    return decision


def _own_worth(decision: GateDecision, candidate: Figures, thresholds: GateThresholds) -> None:
    name = next((name for name in _OWN_WORTH if name in candidate.scores), None)
    if name is None:
        # Without a champion to compare with, nothing else would keep a useless model from being served.
        wanted = ", ".join(_OWN_WORTH)
        decision.check(False, f"no held-out utterance was transcribed; one of {wanted} is needed")
        return
    value, limit = candidate.scores[name], thresholds.max_wer
    decision.check(value <= limit, f"{name} {value:.4f} is at most {limit:.4f}")
    vanilla, limit = candidate.vanilla_scores[name], thresholds.max_boost_wer_gap
    line = f"{name} {value:.4f} is within {limit:.4f} of Vanilla's {vanilla:.4f}"
    decision.check(value - vanilla <= limit, line)


def judge(decision: GateDecision, comparisons: Sequence[Comparison]) -> None:
    """Add to ``decision`` what a duel with the champion has shown."""
    for one in comparisons:
        decision.check(one.held, one.words())
