"""The geometry of the loss curves on a version's page; the template draws them, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training_jobs.history import History

WIDTH, HEIGHT = 640.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 10.0, 34.0
_MOST_POINTS = 200
_TICKS = 5
Points = tuple[Sequence[float], Sequence[float]]  # steps, and losses in nats


@dataclass(frozen=True)
class Curve:
    """One line: its name, its path, and of which colour it is (0: the loss itself; the others between 0 and 1)."""

    name: str
    path: str
    shade: float
    is_main: bool
    first: float
    last: float


@dataclass(frozen=True)
class Tick:
    """A mark of an axis, in units of the drawing."""

    at: float
    text: str


@dataclass(frozen=True)
class LossChart:
    """Curves over steps.

    Attributes:
        label: what a screen reader says of it.
    """

    title: str
    label: str
    curves: Sequence[Curve]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def loss_charts(stage: str, history: History) -> list[LossChart]:
    """The loss with backbone and modules, and the losses by task; nothing where no step was taken."""
    if not history.steps:
        return []
    steps = [float(record.step) for record in history.steps]
    curves: dict[str, Points] = {"loss": _averaged(steps, [one.loss for one in history.steps])}
    modules = len(history.steps[0].module_losses)
    if history.has_backbone and modules:
        curves["backbone"] = _averaged(steps, [one.backbone_loss or 0.0 for one in history.steps])
    for index in range(modules):
        curves[f"module {index}"] = _averaged(steps, [one.module_losses[index] for one in history.steps])
    charts = [_chart(f"Loss of {stage}", curves, main="loss")]
    by_task: dict[str, Points] = {name: (at, losses) for name, (at, losses) in history.task_curves().items()}
    if by_task:
        charts.append(_chart(f"Loss of {stage} by task", by_task, main=None))
    return charts


def _averaged(steps: Sequence[float], losses: Sequence[float]) -> Points:
    width = -(-len(steps) // _MOST_POINTS)
    starts = range(0, len(steps), width)
    means = [sum(losses[at : at + width]) / len(losses[at : at + width]) for at in starts]
    return [steps[min(at + width, len(steps)) - 1] for at in starts], means


def _chart(title: str, curves: Mapping[str, Points], main: str | None) -> LossChart:
    every = [loss for _, losses in curves.values() for loss in losses if math.isfinite(loss)]
    steps = [step for at, _ in curves.values() for step in at]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin
    first, last = min(steps), max(*steps, min(steps) + 1)

    def x(step: float) -> float:
        return round(_LEFT + (step - first) / (last - first) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(loss: float) -> float:
        return round(_TOP + (high - loss) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    others = [name for name in curves if name != main]
    drawn = []
    for name, (at, losses) in curves.items():
        places = [(x(one), y(loss)) for one, loss in zip(at, losses, strict=True) if math.isfinite(loss)]
        path = "M" + "L".join(f"{left} {top}" for left, top in places)
        shade = 0.0 if name == main else others.index(name) / max(1, len(others) - 1)
        # A single point is drawn as a short stroke.
        path = path + "h3" if len(places) == 1 else path
        if places:
            drawn.append(Curve(name, path, round(shade, 3), name == main, losses[0], losses[-1]))
    ends = "; ".join(f"{one.name} from {one.first:.3f} to {one.last:.3f}" for one in drawn)
    return LossChart(
        title=title,
        label=f"{title}, nats per token over steps {first:.0f} to {max(steps):.0f}: {ends}",
        curves=drawn,
        x_ticks=[Tick(x(value), f"{value:,.0f}") for value in _nice(first, last) if value == int(value)],
        y_ticks=[Tick(y(value), f"{value:.4g}") for value in _nice(low, high)],
    )


def _nice(low: float, high: float) -> list[float]:
    """Round values between the two."""
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]
