"""Whether a stage is diverging: a loss or a gradient far above what it was, for several steps.

Judged from the history alone, so that a resumed stage comes to the same verdict at the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from training_jobs.history import StepRecord
from training_jobs.spec import Explosion


def exploded(records: Sequence[StepRecord], limits: Explosion | None) -> str | None:
    """What has exploded in the newest steps, with values and limit.

    ``None`` where nothing has, or where there are fewer steps before them than the limits' window.
    """
    return _judged(records, limits, limits.in_a_row) if limits is not None else None


def is_suspicious(records: Sequence[StepRecord], limits: Explosion | None) -> bool:
    """Whether the newest step alone is beyond the limits: not one to make a checkpoint after."""
    return limits is not None and _judged(records, limits, 1) is not None


def _judged(records: Sequence[StepRecord], limits: Explosion, newest: int) -> str | None:
    recent, before = records[-newest:], records[-newest - limits.window : -newest]
    if len(before) < limits.window:
        return None
    usual = median(record.loss for record in before)
    deviation = median(abs(record.loss - usual) for record in before)
    most = usual + max(limits.nats, limits.deviations * deviation)
    if all(record.loss > most for record in recent):
        return _said("loss", [record.loss for record in recent], most, usual)
    usual = median(record.grad_norm for record in before)
    most = usual * limits.gradient_factor
    if all(record.grad_norm > most for record in recent):
        return _said("gradient norm", [record.grad_norm for record in recent], most, usual)
    return None


def _said(what: str, values: Sequence[float], most: float, usual: float) -> str:
    row = ", ".join(f"{value:.4g}" for value in values)
    return f"{what} has exploded ({row}; usual were {usual:.4g}, the limit is {most:.4g})"
