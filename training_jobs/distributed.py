"""The ranks of a training stage: NCCL and bfloat16 where there are GPUs, gloo and float32 where there are none.

Ranks come from the environment that torchrun (or Ray, Slurm, Kubernetes) sets: RANK, LOCAL_RANK, WORLD_SIZE,
MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from training_jobs.spec import StageSpec
from training_jobs.watchdog import LONGEST
from validation.errors import ConfigurationError, UserError

_PATIENT = timedelta(days=2)  # for what one rank does alone while the others wait


class LostRankError(UserError):
    """Another rank has gone in the midst of something; what it said, or the kernel's log, says why."""


@dataclass(frozen=True)
class World:
    """This rank among the others, and what it computes with.

    Attributes:
        patient: a group of all ranks in which one may keep the others waiting for hours.
    """

    rank: int
    size: int
    device: torch.device
    is_bfloat16: bool
    patient: Any = None

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return torch.bfloat16 if self.is_bfloat16 else torch.float32

    def mean(self, values: Sequence[float]) -> list[float]:
        """Mean of each value over the ranks."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        mean: list[float] = (tensor / self.size).tolist()
        return mean

    def from_first(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def from_first_patiently(self, value: Any) -> Any:
        """Rank 0's value, on every rank, however long rank 0 takes before it has one."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.patient)
        return box[0]

    def all_values(self, value: Any) -> list[Any]:
        """Every rank's value, in the order of the ranks."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for every rank."""
        dist.barrier()


@contextmanager
def joined(spec: StageSpec, collective_s: float) -> Iterator[World]:
    """Join the other ranks for the length of the block.

    Args:
        spec: of the stage.
        collective_s: The watchdog's limit for a step, in seconds. What waits for other ranks gives up by itself only
            after the watchdog's longest limit: a give-up has no stacks.

    Raises:
        ConfigurationError: if the environment has no ranks or more of them than GPUs, or the GPU has no bfloat16.
    """
    if missing := [
        name for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR") if name not in os.environ
    ]:
        raise ConfigurationError(
            f"{missing} not set: start this program through torchrun (training_jobs.launch)"
        )
    has_gpu = torch.cuda.is_available()
    local_rank, size = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    is_bfloat16 = spec.precision == "bfloat16" or (spec.precision == "auto" and has_gpu)
    if has_gpu:
        device = _own_gpu(local_rank, spec, is_bfloat16)
    else:
        device = torch.device("cpu")
        # DeepSpeed would find it out by itself, and warn.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
        # Every rank would otherwise start a thread per core, and the ranks wait for one another's. How many a single
        # one has, whoever starts it may say; to several, torchrun says one each.
        if local_size > 1 or "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_size))
    # DeepSpeed calls what torch has renamed.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # Only now: its import takes seconds, and decides for good which accelerator there is.
    with _hidden("mlflow") if os.environ["RANK"] != "0" else nullcontext():
        import deepspeed
        import deepspeed.comm
        import deepspeed.ops
    with _uncompiled():
        # ZeRO asks of every optimizer whether it is this one. Its functions are handed to torch's compiler as it is
        # imported: that takes seconds on every rank, and none of them is ever called.
        importlib.import_module("deepspeed.runtime.zero.muon.muon_optimizer")

    # DeepSpeed's shared-memory op for CPUs is compiled at this very call, which takes a minute and a compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(
        dist_backend="nccl" if has_gpu else "gloo",
        verbose=False,
        timeout=timedelta(seconds=2 * LONGEST * collective_s),
    )
    try:
        patient = dist.new_group(backend="gloo", timeout=_PATIENT)
        yield World(int(os.environ["RANK"]), size, device, is_bfloat16, patient)
    finally:
        deepspeed.comm.destroy_process_group()


@contextmanager
def naming_lost_ranks(at: Callable[[], str]) -> Iterator[None]:
    """Say in one line, with what this rank was at, that another one has gone.

    Raises:
        LostRankError: for what NCCL or gloo say of a rank that no longer answers.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        first = str(error).partition("\n")[0]
        raise LostRankError(
            f"{at()}: another rank no longer answers ({first:.200}). It has ended; what it said before, or the "
            "kernel's log where it was killed, says why"
        ) from error


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let imports in the block do without a package that is not imported yet.

    DeepSpeed's autotuner takes MLflow along where it finds it: seconds and 100 MB on every rank, and rank 0 alone uses
    it.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # as the import system has it, and typeshed has not
    try:
        yield
    finally:
        del sys.modules[package]


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Let ``torch.compile`` give functions back as they are."""
    name = "TORCHDYNAMO_DISABLE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _own_gpu(local_rank: int, spec: StageSpec, is_bfloat16: bool) -> torch.device:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigurationError(
            f"stage {spec.stage}: processes is {spec.processes}, but this machine has {count} GPUs"
        )
    torch.cuda.set_device(local_rank)
    # Without emulation: what a GPU computes in float32 after all is neither faster nor smaller.
    if is_bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigurationError(
            f"stage {spec.stage}: precision {spec.precision} is bfloat16 on a GPU, which "
            f"{torch.cuda.get_device_name(local_rank)} does not have; set precision: float32"
        )
    return torch.device("cuda", local_rank)
