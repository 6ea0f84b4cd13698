"""Checkpoints of one number of ranks for another one, through DeepSpeed's universal format.

DeepSpeed's own files hold a share per rank and fit the same ranks only. The universal ones hold each parameter and its
optimizer state whole. ZeRO stages 1 and 2 continue from them with the losses of undisturbed training (to rounding:
sums over other ranks are made in another order); stage 3 does not, so it is refused.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

from training_jobs.checkpoint_files import State
from validation.errors import UserError

# Every parameter in pieces and every parameter whole are there at once, before the pieces go.
_ROOM = 2.2
UNIVERSAL: dict[str, Any] = {"checkpoint": {"load_universal": True}}  # of DeepSpeed's configuration


class RanksChangedError(UserError):
    """A checkpoint that these ranks cannot go on from; says on how many they can."""


def is_laid_out_for(state: State, world_size: int, zero_stage: int) -> bool:
    """Whether DeepSpeed loads the checkpoint's files as they are."""
    return (state.world_size, state.zero_stage) == (world_size, zero_stage)


def check_convertible(checkpoint: Path, state: State, world_size: int, zero_stage: int) -> None:
    """See that the checkpoint can be laid out anew, and that there is room for it.

    Raises:
        RanksChangedError: under ZeRO stage 3, or if the disk is too small; names the checkpoint and the numbers.
    """
    written_by = f"{checkpoint} was written by {state.world_size} ranks under ZeRO stage {state.zero_stage}"
    if 3 in (state.zero_stage, zero_stage):
        raise RanksChangedError(
            f"{written_by}, these are {world_size} under stage {zero_stage}. Stage 3 goes on only with the ranks and "
            f"the stage that it began with: set processes: {state.world_size} and zero_stage: {state.zero_stage}, or "
            f"remove {checkpoint.parent} to begin again"
        )
    needed, free = round(_ROOM * state.total_bytes), shutil.disk_usage(checkpoint).free
    if free < needed:
        raise RanksChangedError(
            f"{written_by}, these are {world_size} under stage {zero_stage}. To lay it out anew takes {needed:,} bytes "
            f"for a while, and {free:,} are free there"
        )


def convert(checkpoint: Path, target: Path) -> None:
    """Write the checkpoint to the directory ``target`` in the universal format; what is there goes.

    In this process, one rank's share in memory at a time.
    """
    from deepspeed.checkpoint import ds_to_universal

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    asked = Namespace(
        input_folder=str(checkpoint),
        output_folder=str(target),
        # One each: with more it forks this process, which has threads.
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        # It wants a description of tensor parallelism, and there is none here.
        inject_missing_state=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(asked)
