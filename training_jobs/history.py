"""What a stage measured at each step, and the figures and the plot that come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from training_jobs.plots import curves_markdown, loss_curve_markdown

HISTORY_FILE = "history.json"  # of a finished stage, beside its result
TASK_POINTS = 100  # intervals of a stage, at least; fewer than twice as many
_PLOT_POINTS = 200


@dataclass(frozen=True)
class Losses:
    """Cross entropies in nats; ``backbone_loss`` is ``None`` where the head is frozen.

    Each is a mean over micro batches of the mean over a micro batch's labelled tokens, which is what is trained on: a
    row with few labels weighs as much as one with many. Micro batches without a label for the backbone or a module are
    left out of its mean, which is 0 where none has one.
    """

    loss: float
    backbone_loss: float | None
    module_losses: list[float]

    def to_list(self) -> list[float]:
        """All of them in a row: loss, backbone (where there is one), modules."""
        backbone = [] if self.backbone_loss is None else [self.backbone_loss]
        return [self.loss, *backbone, *self.module_losses]

    @classmethod
    def from_list(cls, values: Sequence[float], has_backbone: bool) -> Losses:
        """The reverse of :meth:`to_list`."""
        return cls(values[0], values[1] if has_backbone else None, list(values[1 + has_backbone :]))


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step, means over all ranks and micro batches; the losses are those of :class:`Losses`.

    ``waited_s`` of the ``seconds`` went by before a rank had its rows.
    """

    step: int
    loss: float
    backbone_loss: float | None
    module_losses: list[float]
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    waited_s: float = 0.0

    def metrics(self) -> dict[str, float]:
        """The step under the names it has in MLflow."""
        values = {
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "grad_norm": self.grad_norm,
            "tokens_per_s": self.tokens / self.seconds,
            "waiting_share": self.waited_s / self.seconds,
        }
        if self.backbone_loss is not None:
            values["loss_backbone"] = self.backbone_loss
        return values | {f"loss_module_{index}": loss for index, loss in enumerate(self.module_losses)}


@dataclass(frozen=True)
class TaskLosses:
    """What the labels of some steps cost, by the task of the samples that they are of; over all ranks.

    Attributes:
        first_step: of the steps.
        last_step: of the steps.
        labels: for each task how many labels each level had to predict: the backbone, unless it is frozen, and then
            the modules. A task without any is left out.
        nats: the sums of their cross entropies, likewise.
    """

    first_step: int
    last_step: int
    labels: dict[str, list[int]]
    nats: dict[str, list[float]]

    def with_later(self, later: TaskLosses) -> TaskLosses:
        """Both together."""
        tasks = sorted({*self.labels, *later.labels})
        return TaskLosses(
            self.first_step,
            later.last_step,
            {task: _added(self.labels.get(task), later.labels.get(task)) for task in tasks},
            {task: _added(self.nats.get(task), later.nats.get(task)) for task in tasks},
        )

    def means(self, task: str) -> list[float | None]:
        """Nats per label of each level, each label weighing the same; ``None`` where a level has none."""
        pairs = zip(self.nats[task], self.labels[task], strict=True)
        return [nats / labels if labels else None for nats, labels in pairs]

    def loss(self, task: str, has_backbone: bool) -> float | None:
        """The backbone's mean, or that of the modules' means where it is frozen."""
        means = self.means(task)
        of_levels = [mean for mean in (means[:1] if has_backbone else means) if mean is not None]
        return sum(of_levels) / len(of_levels) if of_levels else None

    def metrics(self, has_backbone: bool) -> dict[str, float]:
        """The means under the names that they have in MLflow."""
        values: dict[str, float | None] = {}
        for task in self.labels:
            values[f"loss_task_{task}"] = self.loss(task, has_backbone)
            for index, mean in enumerate(self.means(task)[has_backbone:]):
                values[f"loss_task_{task}_module_{index}"] = mean
        return {name: value for name, value in values.items() if value is not None}


@dataclass
class History:
    """All steps so far; kept in the checkpoints, so that a resumed stage has its whole curve.

    ``before`` and ``after`` are the losses over the same rows (:mod:`training_jobs.probe`) at both ends. ``tasks`` are
    intervals of steps, which follow on one another: at each step they would be most of what a checkpoint's state is.
    """

    steps: list[StepRecord] = field(default_factory=list)
    before: Losses | None = None
    after: Losses | None = None
    tasks: list[TaskLosses] = field(default_factory=list)

    @classmethod
    def from_json(cls, value: Any) -> History:
        """The reverse of :meth:`to_json`, also for what an earlier version has written.

        Raises:
            ValidationError: if it is something else.
        """
        return TypeAdapter(cls).validate_python(value)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def add(self, record: StepRecord, tasks: TaskLosses, steps: int) -> bool:
        """Add a step, of ``steps`` in all; whether an interval of :attr:`tasks` ends with it."""
        self.steps.append(record)
        width = max(1, steps // TASK_POINTS)
        if self.tasks and self.tasks[-1].first_step // width == record.step // width:
            self.tasks[-1] = self.tasks[-1].with_later(tasks)
        else:
            self.tasks.append(tasks)
        return (record.step + 1) % width == 0 or record.step + 1 == steps

    @property
    def has_backbone(self) -> bool:
        """Whether the backbone has a loss: its head is not frozen."""
        return bool(self.steps) and self.steps[0].backbone_loss is not None

    def figures(self) -> dict[str, Any]:
        """First and last losses, tokens, seconds and speed of a finished stage, for ``result.json``."""
        assert self.before is not None and self.after is not None
        tokens = sum(record.tokens for record in self.steps)
        seconds = sum(record.seconds for record in self.steps)
        figures: dict[str, Any] = {
            "first_loss": round(self.before.loss, 5),
            "last_loss": round(self.after.loss, 5),
            "tokens": tokens,
            "training_seconds": round(seconds, 2),
            "tokens_per_s": round(tokens / seconds, 1),
            "waiting_share": round(sum(record.waited_s for record in self.steps) / seconds, 5),
            "module_losses_first": [round(loss, 5) for loss in self.before.module_losses],
            "module_losses_last": [round(loss, 5) for loss in self.after.module_losses],
        }
        if self.before.backbone_loss is not None and self.after.backbone_loss is not None:
            figures["backbone_loss_first"] = round(self.before.backbone_loss, 5)
            figures["backbone_loss_last"] = round(self.after.backbone_loss, 5)
        return figures

    def task_curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """For each task the last steps of the intervals that have it, and its loss in these."""
        curves: dict[str, tuple[list[int], list[float]]] = {}
        for one in self.tasks:
            for task in one.labels:
                loss = one.loss(task, self.has_backbone)
                if loss is not None:
                    steps, losses = curves.setdefault(task, ([], []))
                    steps.append(one.last_step)
                    losses.append(loss)
        return dict(sorted(curves.items()))

    def plot_tasks_markdown(self, title: str) -> str:
        """The loss of each task, of the backbone or else of the modules."""
        return curves_markdown(title, self.task_curves())

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


def _mean(records: Sequence[StepRecord], value: Callable[[StepRecord], float]) -> float:
    return round(sum(value(record) for record in records) / len(records), 5)


def _module_means(records: Sequence[StepRecord]) -> list[float]:
    modules = zip(*(record.module_losses for record in records), strict=True)
    return [round(sum(losses) / len(records), 5) for losses in modules]


def _added(one: list[Any] | None, other: list[Any] | None) -> list[Any]:
    if one is None or other is None:
        return [*(one or other or [])]
    return [first + second for first, second in zip(one, other, strict=True)]
