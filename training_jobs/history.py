"""What a stage measured at each step, and the figures and the plot that come of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from training_jobs.plots import loss_curve_markdown

EDGE_SHARE = 0.1  # "first" and "last" losses are means over this share of the steps, at most EDGE_STEPS
EDGE_STEPS = 50
_PLOT_POINTS = 200


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step, means over all ranks and micro batches.

    Losses are cross entropies in nats per labelled token; ``backbone_loss`` is ``None`` where the head is frozen.
    """

    step: int
    loss: float
    backbone_loss: float | None
    module_losses: list[float]
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float

    def metrics(self) -> dict[str, float]:
        """The step under the names it has in MLflow."""
        values = {
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "grad_norm": self.grad_norm,
            "tokens_per_s": self.tokens / self.seconds,
        }
        if self.backbone_loss is not None:
            values["loss_backbone"] = self.backbone_loss
        return values | {f"loss_module_{index}": loss for index, loss in enumerate(self.module_losses)}


@dataclass
class History:
    """All steps so far; kept in the checkpoints, so that a resumed stage has its whole curve."""

    steps: list[StepRecord] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON values."""
        return [asdict(record) for record in self.steps]

    @classmethod
    def from_json(cls, values: Sequence[dict[str, Any]]) -> History:
        """The reverse of :meth:`to_json`."""
        return cls([StepRecord(**value) for value in values])

    def figures(self) -> dict[str, Any]:
        """First and last losses, tokens, seconds and speed, for ``result.json``."""
        tokens = sum(record.tokens for record in self.steps)
        seconds = sum(record.seconds for record in self.steps)
        first, last = self._edges()
        figures: dict[str, Any] = {
            "first_loss": _mean(first, lambda record: record.loss),
            "last_loss": _mean(last, lambda record: record.loss),
            "tokens": tokens,
            "training_seconds": round(seconds, 2),
            "tokens_per_s": round(tokens / seconds, 1),
            "module_losses_first": _module_means(first),
            "module_losses_last": _module_means(last),
        }
        if first[0].backbone_loss is not None:
            figures["backbone_loss_first"] = _mean(first, lambda record: record.backbone_loss or 0.0)
            figures["backbone_loss_last"] = _mean(last, lambda record: record.backbone_loss or 0.0)
        return figures

    def plot_markdown(self, title: str) -> str:
        """The loss curve; long histories are averaged to about 200 points."""
        width = max(1, len(self.steps) // _PLOT_POINTS)
        groups = [self.steps[start : start + width] for start in range(0, len(self.steps), width)]
        curves = {"loss": [_mean(group, lambda record: record.loss) for group in groups]}
        if self.steps[0].backbone_loss is not None and self.steps[0].module_losses:
            curves["backbone"] = [
                _mean(group, lambda record: record.backbone_loss or 0.0) for group in groups
            ]
        by_module = zip(*(_module_means(group) for group in groups), strict=True)
        curves |= {f"module {index}": list(losses) for index, losses in enumerate(by_module)}
        return loss_curve_markdown(title, [group[-1].step for group in groups], curves)

    def _edges(self) -> tuple[list[StepRecord], list[StepRecord]]:
        count = max(1, min(EDGE_STEPS, math.ceil(len(self.steps) * EDGE_SHARE)))
        return self.steps[:count], self.steps[-count:]


def _mean(records: Sequence[StepRecord], value: Callable[[StepRecord], float]) -> float:
    return round(sum(value(record) for record in records) / len(records), 5)


def _module_means(records: Sequence[StepRecord]) -> list[float]:
    modules = zip(*(record.module_losses for record in records), strict=True)
    return [round(sum(losses) / len(records), 5) for losses in modules]
