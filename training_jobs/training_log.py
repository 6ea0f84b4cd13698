"""What a stage's history and log say of its training: verdicts, gradients, speed, waiting, warnings and errors.

Judged from the history and the log alone, so that the same is said at the end of a stage, in MLflow, and by
``voxline logs`` while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from training_jobs.history import History
from training_jobs.log_lines import LogCount, Message, count_log
from training_jobs.trend import Trend, Verdict, trend

# Of the median of the steps before it. Clipping takes what is beyond `clip`, yet a step whose gradient is five times
# the usual is five times less of what the others wanted.
SPIKE_FACTOR = 5.0
SPIKE_WINDOW = 50  # steps before it, whose median is the usual; fewer at the beginning
_FEWEST_BEFORE = 10
# Of the steps, at both ends, whose median speeds are compared.
SPEED_SHARE = 0.2
_SETTLING = 2  # steps that the first allocations and compilations slow down
_SHOWN = 20  # messages, spikes


@dataclass(frozen=True)
class Spike:
    """A step with a gradient far above the usual.

    Attributes:
        step: number of the step.
        grad_norm: before clipping.
        factor: of the median of the steps before.
    """

    step: int
    grad_norm: float
    factor: float


@dataclass(frozen=True)
class TrainingLog:
    """What is said of one stage.

    Attributes:
        verdict: on the loss that is trained on.
        why: the same in a sentence.
        steps: that have been taken.
        curves: by name (``loss``, ``backbone``, ``module 0`` …, ``task asr`` …).
        spikes: of the gradient norm, the highest first.
        spike_count: of them; the list has twenty at most.
        tokens_per_s: of all steps.
        tokens_per_s_first: median over the first fifth of the steps.
        tokens_per_s_last: over the last fifth.
        waiting_share: of the steps' time, in which ranks waited for their rows.
        log: what the log complains of.
    """

    verdict: Verdict
    why: str
    steps: int
    curves: dict[str, Trend]
    spikes: list[Spike]
    spike_count: int
    tokens_per_s: float
    tokens_per_s_first: float
    tokens_per_s_last: float
    waiting_share: float
    log: LogCount

    @property
    def slow_down(self) -> float:
        """Share of its speed that the stage has lost from its first to its last steps; below 0 where it gained."""
        return 1 - self.tokens_per_s_last / self.tokens_per_s_first if self.tokens_per_s_first else 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"slow_down": self.slow_down}

    def figures(self) -> dict[str, Any]:
        """For ``result.json``: the figures that people look at first, all of it, and tables."""
        return {
            "verdict": self.verdict,
            "verdict_why": self.why,
            "warnings": self.log.warnings,
            "errors": self.log.errors,
            "gradient_spikes": self.spike_count,
            "slow_down": round(self.slow_down, 4),
            "analysis": self.to_json(),
            "trends_markdown": self.trends_markdown(),
            "messages_markdown": self.messages_markdown(),
        }

    def metrics(self) -> dict[str, float]:
        """What has a number, under the names that it has in MLflow."""
        return {
            "log_warnings": self.log.warnings,
            "log_errors": self.log.errors,
            "gradient_spikes": self.spike_count,
            "slow_down": self.slow_down,
            "waiting_share_of_stage": self.waiting_share,
        }

    def markdown(self) -> str:
        """All of it for people."""
        figures = (
            f"**{self.verdict}**: {self.why}\n\n{self.steps:,} steps, {self.tokens_per_s:,.0f} tokens/s "
            f"({self.tokens_per_s_first:,.0f} at first, {self.tokens_per_s_last:,.0f} at last), "
            f"{self.waiting_share:.2%} of the time waiting for rows, {self.spike_count} gradient spikes"
        )
        return f"{figures}\n\n{self.trends_markdown()}\n\n{self.messages_markdown()}\n"

    def trends_markdown(self) -> str:
        """The verdict on each curve, as a table."""
        lines = [
            "| loss | verdict | first | last | best | at step | last part |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for name, one in self.curves.items():
            levels = [_three(value) for value in (one.first, one.last, one.best)]
            change = "" if one.change is None else f"{one.change:+.3f} ± {one.change_error:.3f}"
            step = "" if one.best_step is None else f"{one.best_step}"
            lines.append(f"| {name} | {one.verdict} | {' | '.join(levels)} | {step} | {change} |")
        return "\n".join(lines)

    def messages_markdown(self) -> str:
        """Warnings and errors, by what they say, as a table."""
        if not self.log.messages:
            return "no warnings and no errors"
        lines = ["| kind | lines | first at line | first |", "|---|---:|---:|---|"]
        lines += [_message_line(one) for one in self.log.messages[:_SHOWN]]
        if len(self.log.messages) > _SHOWN:
            lines.append(f"| | {len(self.log.messages) - _SHOWN} more in `analysis` | | |")
        return "\n".join(lines)


def analyse(history: History, lines: Iterable[str], since: int = 0) -> TrainingLog:
    """What history and log say.

    Args:
        history: of the stage, whether it is finished or not.
        lines: of its log.
        since: first step whose loss compares with the last one's; with a curriculum, that from which on all modules
            weigh the same.
    """
    curves = {name: trend(*curve) for name, curve in _curves(history, since).items()}
    spikes = _spikes(history)
    records = history.steps
    seconds = sum(record.seconds for record in records)
    speeds = [record.tokens / record.seconds for record in records[_SETTLING:] or records]
    part = max(1, round(len(speeds) * SPEED_SHARE))
    return TrainingLog(
        verdict=curves["loss"].verdict,
        why=curves["loss"].why,
        steps=len(records),
        curves=curves,
        spikes=sorted(spikes, key=lambda one: -one.factor)[:_SHOWN],
        spike_count=len(spikes),
        tokens_per_s=sum(record.tokens for record in records) / seconds if seconds else 0.0,
        tokens_per_s_first=median(speeds[:part]) if speeds else 0.0,
        tokens_per_s_last=median(speeds[-part:]) if speeds else 0.0,
        waiting_share=sum(record.waited_s for record in records) / seconds if seconds else 0.0,
        log=count_log(lines),
    )


def first_comparable_step(steps: int, curriculum_until_share: float | None) -> int:
    """From which of ``steps`` steps on the loss is made of the same parts."""
    return 0 if curriculum_until_share is None else round(steps * curriculum_until_share)


def _curves(history: History, since: int) -> dict[str, tuple[list[int], list[float]]]:
    records = history.steps
    steps = [record.step for record in records]
    alike = [record for record in records if record.step >= since]
    curves = {"loss": ([record.step for record in alike], [record.loss for record in alike])}
    modules = len(records[0].module_losses) if records else 0
    if history.has_backbone and modules:
        curves["backbone"] = steps, [record.backbone_loss or 0.0 for record in records]
    for index in range(modules):
        curves[f"module {index}"] = steps, [record.module_losses[index] for record in records]
    tasks = history.task_curves()
    return curves | {f"task {name}": tasks[name] for name in tasks}


def _spikes(history: History) -> list[Spike]:
    norms = np.array([record.grad_norm for record in history.steps])
    spikes = []
    for place, record in enumerate(history.steps):
        before = norms[max(0, place - SPIKE_WINDOW) : place]
        if len(before) < _FEWEST_BEFORE:
            continue
        usual = float(np.median(before))
        if 0 < SPIKE_FACTOR * usual < record.grad_norm:
            spikes.append(Spike(record.step, record.grad_norm, record.grad_norm / usual))
    return spikes


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _message_line(one: Message) -> str:
    said = one.first.replace("|", "/").replace("`", "'")
    return f"| {one.kind} | {one.count:,} | {one.line} | `{said}` |"
