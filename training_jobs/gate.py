"""Whether a candidate becomes champion: a pure function of figures and thresholds.

The figures are those of Boost, in which the model is served; Vanilla's stand beside them where the two are
compared. Latencies of two models are compared only if they were taken on the same hardware.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from pydantic import Field, ValidationError

from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping

_GREATER_IS_WORSE = "_wer"
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


@dataclass(frozen=True)
class Figures:
    """What the gate looks at.

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


def decide(candidate: Figures, champion: Figures | None, thresholds: GateThresholds) -> GateDecision:
    """Check the candidate by itself, then against the champion where there is one."""
    decision = GateDecision()
    _by_itself(decision, candidate, thresholds)
    if champion is not None:
        _against(decision, candidate, champion, thresholds)
    return decision


def _by_itself(decision: GateDecision, candidate: Figures, thresholds: GateThresholds) -> None:
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


def _against(
    decision: GateDecision, candidate: Figures, champion: Figures, thresholds: GateThresholds
) -> None:
    if candidate.held_out != champion.held_out:
        # Data grows by the night; refusing to compare would leave an old champion in place for ever.
        decision.notes.append("the champion was scored on other held-out rows than the candidate")
    for name in sorted({*candidate.scores, *champion.scores}):
        new, old = candidate.scores.get(name), champion.scores.get(name)
        if new is None or old is None:
            whose = "candidate" if new is None else "champion"
            decision.skipped.append(f"{name}: the {whose} has none")
        elif name.endswith(_GREATER_IS_WORSE):
            limit = old + thresholds.max_wer_increase
            decision.check(new <= limit, f"{name} {new:.4f} is at most {limit:.4f} (champion {old:.4f})")
        else:
            limit = old - thresholds.max_exact_decrease
            decision.check(new >= limit, f"{name} {new:.4f} is at least {limit:.4f} (champion {old:.4f})")

    if candidate.hardware != champion.hardware:
        decision.skipped.append(
            f"latency: the champion's was measured on other hardware ({champion.hardware[:12]}) "
            f"than the candidate's ({candidate.hardware[:12]})"
        )
        return
    new, old = candidate.first_chunk_ms, champion.first_chunk_ms
    limit = old * (1 + thresholds.max_first_chunk_increase)
    decision.check(
        new <= limit, f"first chunk after {new:.2f} ms is at most {limit:.2f} ms (champion {old:.2f} ms)"
    )
    new, old = candidate.tokens_per_second["boost"], champion.tokens_per_second["boost"]
    limit = old * (1 - thresholds.max_throughput_decrease)
    decision.check(new >= limit, f"{new:.1f} tokens per second are at least {limit:.1f} (champion {old:.1f})")
