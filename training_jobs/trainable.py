"""Which parameters a stage trains: set, and asserted by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from training_jobs.spec import StageSpec
from validation.errors import UserError


class TrainableError(UserError):
    """Parameters that are trained and should not be, or the reverse; names them."""


def expected_trainable(names: Iterable[str], mctp_names: Iterable[str], spec: StageSpec) -> set[str]:
    """Names that the spec says are trained: all, or those of the MCTP modules only."""
    return set(mctp_names) if spec.trainable == "mctp" else set(names)


def set_trainable(model: nn.Module, expected: set[str]) -> None:
    """Freeze everything but the parameters named."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in expected)


def check_trainable(model: nn.Module, expected: set[str]) -> int:
    """Number of trainable values.

    Raises:
        TrainableError: if the parameters that require a gradient are not exactly the expected ones.
    """
    actual = {
        name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    if surplus := sorted(set(actual) - expected):
        raise TrainableError(f"trained, but the spec does not say so: {surplus}")
    if missing := sorted(expected - set(actual)):
        raise TrainableError(f"to be trained by the spec, but frozen or absent: {missing}")
    return sum(actual.values())
