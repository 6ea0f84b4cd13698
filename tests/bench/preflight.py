"""What `voxline preflight` says a rank needs, beside what ranks have taken: small stages, really trained.

    python tests/bench/preflight.py                  # all cases on CPUs; some minutes
    python tests/bench/preflight.py --only 0 3       # some of them
    python tests/bench/preflight.py --device cuda    # on a GPU, in bfloat16, with offloading

Each rank is a process of its own. It joins the others, takes a step of a model of a few thousand values, so that all
code is loaded, and notes the memory it has: the runtime. Then it makes the stage ready by the project's own code and
takes two steps. Measured is its peak (``ru_maxrss``, as in a stage's ``result.json``) less the runtime: what the model,
its optimizer and its steps have taken. On a GPU it is what torch has given out at most
(``torch.cuda.max_memory_allocated``), and the runtime what of it is left of those first steps. On a CPU, blocks from
128 KiB on go back to the system when they are freed, as those of a model of any real size do by themselves: else the
peak would count what a heap keeps for later.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from training_jobs.distributed import World
    from training_jobs.preflight import Place
    from training_jobs.spec import Stage, StageSpec

# 25 million parameters on a CPU; on a GPU 200 million, as DeepSpeed's buckets are 2 GiB there.
WIDTHS = {"small": 256, "cpu": 512, "cuda": 2048}
LIMIT = 0.15  # of a prediction's distance to what was measured
COLLECTIVE_S = 600.0  # on a busy machine
STEPS = 2  # in the second one Adam's state is there


@dataclass(frozen=True)
class Case:
    """A stage to train: what differs from ``sft`` of the profile ``tiny``."""

    ranks: int = 1
    zero_stage: int = 2
    checkpointing: bool = False
    passes: int = 1
    sequence_length: int = 256
    stage: Stage = "sft"
    offload: Literal["none", "optimizer", "weights"] = "none"

    @property
    def name(self) -> str:
        """For people."""
        words = [
            self.stage,
            f"{self.ranks} ranks",
            f"ZeRO {self.zero_stage}",
            f"{self.sequence_length} tokens",
        ]
        if self.offload != "none":
            words.append(f"{self.offload} offloaded")
        if self.passes > 1:
            words.append(f"{self.passes} passes")
        return ", ".join([*words, *(["checkpointed"] if self.checkpointing else [])])


LONG = 2048
CASES = (
    Case(zero_stage=1),
    Case(zero_stage=2),
    Case(zero_stage=3),
    Case(ranks=2, zero_stage=1),
    Case(ranks=2, zero_stage=2),
    Case(ranks=2, zero_stage=3),
    Case(ranks=2, zero_stage=1, passes=2),
    Case(ranks=2, zero_stage=2, passes=2),
    Case(sequence_length=LONG),
    Case(sequence_length=LONG, checkpointing=True),
    Case(sequence_length=LONG, stage="single_mctp"),
    Case(ranks=2, zero_stage=3, sequence_length=LONG, checkpointing=True),
)
GPU_CASES = (
    Case(zero_stage=1, sequence_length=LONG),
    Case(zero_stage=2, sequence_length=LONG),
    Case(zero_stage=3, sequence_length=LONG),
    Case(zero_stage=2, sequence_length=LONG, passes=2),
    Case(zero_stage=2, sequence_length=LONG, checkpointing=True),
    Case(zero_stage=2, sequence_length=LONG, stage="single_mctp"),
    Case(zero_stage=2, sequence_length=LONG, offload="optimizer"),
    Case(zero_stage=3, sequence_length=LONG, offload="optimizer"),
    Case(zero_stage=3, sequence_length=LONG, offload="weights"),
)


def main() -> None:
    """Train each case and show prediction and measurement; exits 1 where they lie too far apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--small", action="store_true", help="a narrow model, for a test")
    parser.add_argument("--rank", help=argparse.SUPPRESS)  # this process is one rank of a case
    parser.add_argument("--prepare", help=argparse.SUPPRESS)  # or makes what they start from
    options = parser.parse_args()
    if options.prepare:
        prepare(Path(options.prepare), WIDTHS["small" if options.small else options.device])
        return
    if options.rank:
        sys.stdout.write(
            json.dumps(measure(Path(options.rank), Case(**json.loads(os.environ["CASE"])))) + "\n"
        )
        return
    cases = CASES if options.device == "cpu" else GPU_CASES
    chosen = cases if options.only is None else [cases[number] for number in options.only]
    with tempfile.TemporaryDirectory() as folder:
        small = ["--small"] if options.small else []
        _child(["--prepare", folder, "--device", options.device, *small], {})
        rows = [compare(Path(folder), case) for case in chosen]
    # Its imports would count in the peak of every process that is started after them.
    from figures import show

    where = "float32 on CPUs" if options.device == "cpu" else "bfloat16 on a GPU"
    show("preflight", f"MiB of a rank beyond its runtime; {STEPS} steps in {where}", rows)
    if far := [row["stage"] for row in rows if not 1 - LIMIT <= row["predicted to measured"] <= 1 + LIMIT]:
        sys.exit(f"further apart than {LIMIT:.0%}: {far}")


def compare(folder: Path, case: Case) -> dict[str, Any]:
    """Train one case; its row of the table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(case.ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {
        "CASE": json.dumps(asdict(case)),
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": str(128 << 10),
    }
    started = [
        _started(["--rank", str(folder)], common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(case.ranks)
    ]
    found = [_last_line(process) for process in started]
    most = max(found, key=lambda one: int(one["peak"]) - int(one["runtime"]))
    measured, predicted = most["peak"] - most["runtime"], most["moments"][most["moment"]]
    row = {
        "stage": case.name,
        "runtime": round(most["runtime"] / 2**20),
        "predicted": round(predicted / 2**20),
        "at": most["moment"],
        "measured": round(measured / 2**20),
        "predicted to measured": predicted / measured,
    }
    sys.stderr.write(f"{row}\n")
    return row


def prepare(folder: Path, width: int) -> None:
    """Make what the cases start from: a model of this width, and rows; and what is to load the code."""
    from stage_runs import make_base, make_packs

    from training_jobs.profile import TinyBackbone

    sizes = TinyBackbone(
        hidden_size=width,
        intermediate_size=3 * width,
        layers=4,
        attention_heads=8,
        key_value_heads=2,
        max_position_embeddings=LONG,
    )
    make_base(folder, sizes, codes=4096)
    for length in {case.sequence_length for case in CASES}:
        make_packs(folder / f"packs-{length}", length, count=1000)
    make_base(folder / "first")
    make_packs(folder / "first" / "packs")


def measure(folder: Path, case: Case) -> dict[str, Any]:
    """Take the steps as one rank; bytes of runtime and peak, and what was predicted."""
    import psutil
    import torch

    from models.checkpoints import read_config
    from training_jobs.distributed import joined
    from training_jobs.engine import peak_bytes
    from training_jobs.preflight import reckon
    from training_jobs.preflight_model import sizes_of, stage_model

    spec = spec_of(case)
    with joined(spec, COLLECTIVE_S) as world:
        first = spec.model_copy(update={"sequence_length": 64})
        train(folder / "first", folder / "first" / "packs", first, world)
        gc.collect()
        if world.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            runtime = torch.cuda.memory_allocated()
        else:
            runtime = psutil.Process().memory_info().rss
        place = place_of(world)
        train(folder, folder / f"packs-{case.sequence_length}", spec, world)
        peak = peak_bytes(world.device)
    sizes = sizes_of(stage_model(read_config(folder / "model"), spec), spec)
    needed = reckon(spec, sizes, place, case.ranks).memory
    moments = {one.moment: one.total for one in needed.moments}
    return {"runtime": runtime, "peak": peak, "moment": needed.peak.moment, "moments": moments}


def place_of(world: World) -> Place:
    """The device that the ranks are on."""
    from training_jobs.engine import device_name
    from training_jobs.preflight import Place

    return Place(world.device.type, device_name(world.device), world.size, 1, False, None, world.size)


def spec_of(case: Case) -> StageSpec:
    """The stage's hyper-parameters, in which two modules are enough."""
    from training_jobs.spec import load_stage

    return load_stage(case.stage, "tiny").model_copy(
        update={
            "zero_stage": case.zero_stage,
            "gradient_checkpointing": case.checkpointing,
            "offload": case.offload,
            "batch_rows": case.ranks * case.passes,
            "sequence_length": case.sequence_length,
            "mctp_modules": 1 if case.stage == "single_mctp" else 2,
            "steps": STEPS,
        }
    )


def train(start: Path, packs: Path, spec: StageSpec, world: World) -> None:
    """Make the stage ready and take its steps; what it was is gone afterwards."""
    from stage_runs import make_job

    from training_jobs.feeding import Feeder, rows_of_steps
    from training_jobs.jobs import Tracking
    from training_jobs.reporting import Reporter
    from training_jobs.stage import prepare as ready
    from training_jobs.step import take_step
    from training_jobs.stopping import StopRequest
    from training_jobs.watchdog import Watchdog

    output = Path(tempfile.mkdtemp(dir=start))
    job = make_job(output, start / "model", packs, Tracking(uri="", artifact_root="", tags={}), spec)
    with Watchdog(output, world.rank, COLLECTIVE_S) as watchdog:
        stage = ready(job, world, Reporter(lambda line: None), watchdog)
        passes = spec.accumulation(world.size)
        steps = rows_of_steps(stage.rows, range(STEPS), world.rank, world.size, spec.micro_batch, passes)
        with Feeder(stage.rows, steps, world.device) as feeder:
            for step in range(STEPS):
                take_step(stage.engine, feeder, stage.rows, world, spec, step, StopRequest())
        stage.engine.destroy()


def _started(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.Popen(
        command, env=os.environ | environment | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )


def _child(arguments: list[str], environment: dict[str, str]) -> None:
    process = _started(arguments, environment)
    process.communicate()
    if process.returncode:
        sys.exit(f"{arguments} ended with {process.returncode}")


def _last_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    said = process.communicate()[0]
    if process.returncode:
        sys.exit(f"a rank ended with {process.returncode}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
