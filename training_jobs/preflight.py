"""Program ``preflight``: what the four stages will need, and whether they fit, before anything is reserved or trained.

Each stage's model is built on the meta device, which counts every parameter and takes no memory; the rest is
arithmetic (:mod:`training_jobs.memory_model`). What does not fit is refused with what is needed, what there is, and
the changes with which it would.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from models.losses import chunk_rows
from models.packed_attention import choose
from models.quiet import quiet_transformers
from training_jobs.activation_memory import Device, Sizes
from training_jobs.imported import is_passed_over
from training_jobs.jobs import CPU, PreflightJob, write_result
from training_jobs.launch import available_ranks, gpu_count
from training_jobs.memory_model import KINDS, RankMemory, rank_memory
from training_jobs.nodes import nodes_of
from training_jobs.preflight_advice import Change, advice
from training_jobs.preflight_cost import (
    StageDisk,
    disk_needed,
    flop_per_token,
    is_of_kind,
    speed_of,
    stage_disk,
)
from training_jobs.preflight_model import base_config, sizes_of, stage_model, stands_in_for_published
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.spec import Stage, StageSpec
from validation.errors import ConfigurationError

GIB = 1 << 30
# Of a device's memory: the rest is for what torch does not count (CUDA's context, NCCL's buffers) and for the gaps
# between tensors; it also bears an error of the formulas of a tenth.
USABLE = 0.9
# What a rank takes on a CPU before it has a model: Python, torch, DeepSpeed (`tests/bench/preflight.py` measures it).
RUNTIME_BYTES = 600 << 20


@dataclass(frozen=True)
class Place:
    """Where the stages are to run.

    Attributes:
        ranks: that there is room for.
        device_bytes: memory of a GPU, or of the host.
        is_stated: whether somebody said it, instead of the device.
        host_bytes: of this machine; ``None`` where the stages run on another one.
        ranks_here: of the ranks, on one machine.
    """

    kind: str
    name: str
    ranks: int
    device_bytes: int
    is_stated: bool
    host_bytes: int | None
    ranks_here: int


@dataclass(frozen=True)
class Reckoned:
    """A stage, and what is known of it."""

    spec: StageSpec
    sizes: Sizes
    ranks: int
    device: Device
    memory: RankMemory
    room: int
    disk: StageDisk


def main() -> None:
    """``python -m training_jobs.preflight JOB.json``."""
    with quiet_transformers():
        program_main(PreflightJob, run)


def run(job: PreflightJob, report: Reporter) -> None:
    """Reckon every stage and write what came out; what does not fit is in ``refusals``, and no error.

    Raises:
        ConfigurationError: if the base model is named and not there, or the environment says something of the machines
            that cannot be.
        ModelError: if its files say something that cannot be, or there is no such attention.
    """
    place = find_place(job)
    base = base_config(job.base_model, job.audio_codes)
    is_published = stands_in_for_published(job.base_model)
    specs = [one for one in job.specs if is_published or not is_passed_over(job.base_model, one.stage)]
    stages = [reckon(one, sizes_of(stage_model(base, one), one), place) for one in specs]
    per_token: dict[Stage, float] = {one.spec.stage: flop_per_token(one.sizes, one.spec) for one in stages}
    base_values = stages[0].sizes.parameters - stages[0].sizes.modules * stages[0].sizes.per_module
    needed = disk_needed(base_values, job.base_model.make is not None, [one.disk for one in stages])
    free = shutil.disk_usage(_existing(job.home)).free
    refusals = [line for one in stages for line in _refusal(one, place)]
    if needed > free:
        refusals.append(_disk_refusal(needed, free, stages, base_values, job))
    write_result(
        job.output_dir,
        {
            "device": asdict(place),
            "usable_share": USABLE,
            "runtime_bytes": RUNTIME_BYTES if place.kind == "cpu" else 0,
            "published_sizes": is_published,
            "vocabulary": base.vocab_size,
            "stages": [_as_json(one, place, job, per_token) for one in stages],
            "disk": {"needed": needed, "free": free, "path": str(_existing(job.home))},
            "measured_elsewhere": sorted(
                {
                    one.device or "a device that was not recorded"
                    for one in job.measured
                    if not is_of_kind(one.device, place.name)
                }
            ),
            "refusals": refusals,
        },
    )
    report.log(f"{len(stages)} stages reckoned, {len(refusals)} refusals")


def find_place(job: PreflightJob) -> Place:
    """This machine's GPUs or CPUs; with ``gpus`` so many GPUs, of this machine's kind where it has one."""
    nodes, here = nodes_of().count, gpu_count()
    host = psutil.virtual_memory().total
    if here and torch.cuda.is_available():
        memory = torch.cuda.mem_get_info(0)[1]
        ranks = job.gpus or here * nodes
        return Place("cuda", torch.cuda.get_device_name(0), ranks, memory, False, host, min(ranks, here))
    if job.gpus is not None:
        name = f"GPU of {job.gpu_memory_gib:g} GiB"
        return Place("cuda", name, job.gpus, round(job.gpu_memory_gib * GIB), True, None, job.gpus)
    ranks = available_ranks() * nodes
    return Place("cpu", CPU, ranks, host, False, host, ranks // nodes)


def reckon(spec: StageSpec, sizes: Sizes, place: Place, ranks: int | None = None) -> Reckoned:
    """A stage on so many ranks, or on as many as there are and its rows can be dealt out to."""
    if ranks is None:
        most = place.ranks if spec.processes == "auto" else spec.processes * nodes_of().count
        ranks = max((one for one in spec.world_sizes() if one <= most), default=1)
        if spec.processes != "auto":
            spec.accumulation(most)
        if place.kind == "cuda" and ranks > place.ranks:
            raise ConfigurationError(
                f"stage {spec.stage}: processes {spec.processes} make {ranks} ranks, but there are {place.ranks} GPUs"
            )
    is_bfloat16 = spec.precision == "bfloat16" or (spec.precision == "auto" and place.kind == "cuda")
    dtype = torch.bfloat16 if is_bfloat16 else torch.float32
    device = Device(
        "cuda" if place.kind == "cuda" else "cpu",
        is_bfloat16,
        choose(torch.device(place.kind), dtype, spec.attention),
        chunk_rows(sizes.hidden, sizes.vocabulary, place.kind),
    )
    room = round(place.device_bytes * USABLE)
    if place.kind == "cpu":
        room = room // min(ranks, place.ranks_here) - RUNTIME_BYTES
    memory = rank_memory(sizes, spec, ranks, device)
    return Reckoned(spec, sizes, ranks, device, memory, room, stage_disk(sizes, spec, device))


def fits(one: Reckoned, place: Place) -> bool:
    """Whether a rank has room on its device, and all ranks of a machine in its memory where that is known."""
    ranks_here = min(one.ranks, place.ranks_here)
    has_host = place.host_bytes is None or one.memory.host * ranks_here <= place.host_bytes * USABLE
    return one.memory.peak.total <= one.room and has_host


def _refusal(one: Reckoned, place: Place) -> list[str]:
    """One line for a stage that does not fit."""
    if fits(one, place):
        return []
    peak, spec = one.memory.peak, one.spec
    if peak.total > one.room:
        needs = f"{peak.total / GIB:.1f} GiB per rank are needed (at {peak.moment})"
        has = f"{one.room / GIB:.1f} GiB of {place.device_bytes / GIB:.1f} are usable"
    else:
        needs = f"{one.memory.host * min(one.ranks, place.ranks_here) / GIB:.1f} GiB of the host's memory are needed"
        has = f"{(place.host_bytes or 0) * USABLE / GIB:.1f} GiB are usable"

    def tried(changed: StageSpec, ranks: int) -> tuple[int, bool]:
        again = reckon(changed, one.sizes, place, ranks)
        return again.memory.peak.total, fits(again, place)

    changes = advice(spec, one.ranks, place.kind == "cuda", tried)
    return [f"{spec.stage} on {one.ranks} ranks: {needs}, {has}. {_said(changes, place)}"]


def _said(changes: list[Change], place: Place) -> str:
    if not changes:
        larger = "larger GPUs" if place.kind == "cuda" else "a machine with more memory"
        return f"No change of its spec that was tried makes it fit: take a smaller profile, or {larger}"
    each = [
        f"{change.said} ({change.needed / GIB:.1f} GiB{', another outcome' if change.decides else ''})"
        for change in changes
    ]
    return f"It fits with {' or '.join(each)}"


def _disk_refusal(needed: int, free: int, stages: list[Reckoned], base_values: int, job: PreflightJob) -> str:
    fewer = [
        stage_disk(one.sizes, one.spec.model_copy(update={"keep_milestones": False}), one.device)
        for one in stages
    ]
    without = disk_needed(base_values, job.base_model.make is not None, fewer)
    help_ = f"Make room for {needed / GIB:,.0f} GiB"
    if without < needed:
        fewer_ = f"keep_milestones: false, with which {without / GIB:,.0f} GiB do"
        help_ = f"It fits with {fewer_}" if without <= free else f"{help_}, or take {fewer_}"
    return (
        f"disk: {needed / GIB:,.0f} GiB are needed for checkpoints and models, {free / GIB:,.0f} GiB are free in "
        f"{_existing(job.home)}. {help_}"
    )


def _as_json(one: Reckoned, place: Place, job: PreflightJob, per_token: dict[Stage, float]) -> dict[str, Any]:
    spec, sizes, peak = one.spec, one.sizes, one.memory.peak
    tokens_per_step = spec.batch_rows * spec.sequence_length
    speed = speed_of(spec.stage, one.ranks, per_token, job.measured, job.tokens_per_second, place.name)
    hours = None if speed is None else spec.steps * tokens_per_step / speed.tokens_per_second / 3600
    return {
        "stage": spec.stage,
        "ranks": one.ranks,
        "idle": max(0, place.ranks - one.ranks),
        "possible_ranks": spec.world_sizes(),
        "accumulation": spec.accumulation(one.ranks),
        "zero_stage": spec.zero_stage,
        "offload": spec.offload,
        "precision": "bfloat16" if one.device.is_bfloat16 else "float32",
        "attention": one.device.attention,
        "parameters": {
            "all": sizes.parameters,
            "backbone": sizes.parameters - sizes.modules * sizes.per_module,
            "backbone_layers": sizes.layers,
            "modules": sizes.modules,
            "per_module": sizes.per_module,
            "trained": sizes.trainable,
        },
        "memory": {kind: getattr(peak, kind) for kind in KINDS}
        | {"total": peak.total, "moment": peak.moment, "room": one.room, "host": one.memory.host},
        "moments": [asdict(moment) | {"total": moment.total} for moment in one.memory.moments],
        "fits": fits(one, place),
        "steps": spec.steps,
        "tokens_per_step": tokens_per_step,
        "tokens": spec.steps * tokens_per_step,
        "flop_per_token": per_token[spec.stage],
        "tokens_per_second": None if speed is None else round(speed.tokens_per_second, 1),
        "speed_from": None if speed is None else speed.origin,
        "hours": hours,
        "disk": asdict(one.disk),
    }


def _existing(path: Path) -> Path:
    """The directory, or the nearest above it that is there."""
    return next(one for one in (path, *path.parents) if one.is_dir())


if __name__ == "__main__":
    main()
