"""Which parameters a stage trains: set, and asserted by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from training_jobs.engine import values_in
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


def check_trainable(model: nn.Module, updated: Iterable[nn.Parameter], expected: set[str]) -> int:
    """Number of values that are trained.

    Args:
        model: whose parameters have the names.
        updated: the parameters in the optimizer's groups.
        expected: names of those that should be there.

    Raises:
        TrainableError: if the parameters that get a gradient and are updated are not exactly the expected ones.
    """
    in_optimizer = {id(parameter) for parameter in updated}
    named = dict(model.named_parameters())
    actual = {name for name, parameter in named.items() if id(parameter) in in_optimizer}
    if surplus := sorted(actual - expected):
        raise TrainableError(f"trained, but the spec does not say so: {surplus}")
    if missing := sorted(expected - actual):
        raise TrainableError(f"to be trained by the spec, but not in the optimizer: {missing}")
    if frozen := sorted(name for name in actual if not named[name].requires_grad):
        raise TrainableError(f"to be trained by the spec, but frozen: {frozen}")
    return sum(values_in(named[name]) for name in actual)


def trainable_list(model: nn.Module, expected: set[str]) -> str:
    """One line for each parameter that is trained, in the model's order: name and shape."""
    shapes = {name: tuple(getattr(one, "ds_shape", one.shape)) for name, one in model.named_parameters()}
    return "".join(f"{name} {list(shape)}\n" for name, shape in shapes.items() if name in expected)
