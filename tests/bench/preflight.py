"""What `voxline preflight` says a rank needs, beside what ranks have taken: small stages, really trained on CPUs.

    python tests/bench/preflight.py                  # all cases; some minutes
    python tests/bench/preflight.py --only 0 3       # some of them

Each rank is a process of its own. It joins the others, notes the memory it has (the runtime), makes the stage ready by
the project's own code and takes a few steps. Measured is its peak (``ru_maxrss``, as in a stage's ``result.json``) less
the runtime: what the model, its optimizer and its steps have taken.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIMIT = 0.15  # of a prediction's distance to what was measured
STEPS = 3  # from the second on Adam's state is there


@dataclass(frozen=True)
class Case:
    """A stage to train: what differs from ``sft`` of the profile ``tiny``."""

    ranks: int = 1
    zero_stage: int = 2
    checkpointing: bool = False
    batch_rows: int = 2
    sequence_length: int = 512
    stage: str = "sft"

    @property
    def name(self) -> str:
        """For people."""
        words = [
            self.stage,
            f"{self.ranks} ranks",
            f"ZeRO {self.zero_stage}",
            f"{self.sequence_length} tokens",
        ]
        if self.batch_rows > self.ranks:
            words.append(f"{self.batch_rows // self.ranks} passes")
        return ", ".join([*words, *(["checkpointed"] if self.checkpointing else [])])


CASES = (
    Case(zero_stage=1),
    Case(zero_stage=2),
    Case(zero_stage=3),
    Case(ranks=2, zero_stage=1),
    Case(ranks=2, zero_stage=2),
    Case(ranks=2, zero_stage=3),
    Case(ranks=2, zero_stage=2, batch_rows=4),
    Case(ranks=2, zero_stage=1, batch_rows=4),
    Case(batch_rows=1, sequence_length=4096),
    Case(batch_rows=1, sequence_length=4096, checkpointing=True),
    Case(batch_rows=1, sequence_length=4096, stage="single_mctp"),
    Case(ranks=2, zero_stage=3, batch_rows=2, sequence_length=4096, checkpointing=True),
)


def main() -> None:
    """Train each case and show prediction and measurement; exits 1 where they lie too far apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    parser.add_argument("--small", action="store_true", help="a narrow model, for a test")
    parser.add_argument("--rank", help=argparse.SUPPRESS)  # this process is one rank of a case
    parser.add_argument("--prepare", help=argparse.SUPPRESS)  # or makes what they start from
    options = parser.parse_args()
    if options.prepare:
        prepare(Path(options.prepare), options.small)
        return
    if options.rank:
        sys.stdout.write(
            json.dumps(measure(Path(options.rank), Case(**json.loads(os.environ["CASE"])))) + "\n"
        )
        return
    chosen = CASES if options.only is None else [CASES[number] for number in options.only]
    with tempfile.TemporaryDirectory() as folder:
        _child(["--prepare", folder, *(["--small"] if options.small else [])], {})
        rows = [compare(Path(folder), case) for case in chosen]
    # Its imports would count in the peak of every process that is started after them.
    from figures import show

    show("preflight", f"MiB of a rank beyond its runtime; {STEPS} steps in float32 on CPUs", rows)
    if far := [row["stage"] for row in rows if not 1 - LIMIT <= row["predicted to measured"] <= 1 + LIMIT]:
        sys.exit(f"further apart than {LIMIT:.0%}: {far}")


def compare(folder: Path, case: Case) -> dict[str, Any]:
    """Train one case; its row of the table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(case.ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"CASE": json.dumps(asdict(case)), "OMP_NUM_THREADS": "1"}
    started = [
        _started(["--rank", str(folder)], common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(case.ranks)
    ]
    found = [_last_line(process) for process in started]
    most = max(found, key=lambda one: one["peak"] - one["runtime"])
    measured = most["peak"] - most["runtime"]
    return {
        "stage": case.name,
        "runtime": round(most["runtime"] / 2**20),
        "predicted": round(most["predicted"] / 2**20),
        "at": most["moment"],
        "measured": round(measured / 2**20),
        "predicted to measured": most["predicted"] / measured,
    }


def prepare(folder: Path, is_small: bool) -> None:
    """Make what the cases start from: a model of 25 million parameters, and rows."""
    from stage_runs import make_base, make_packs

    from training_jobs.profile import TinyBackbone

    width = 256 if is_small else 512
    sizes = TinyBackbone(
        hidden_size=width,
        intermediate_size=3 * width,
        layers=4,
        attention_heads=8,
        key_value_heads=2,
        max_position_embeddings=4096,
    )
    make_base(folder, sizes, codes=4096)
    for length in {case.sequence_length for case in CASES}:
        make_packs(folder / f"packs-{length}", length, count=1200)


def measure(folder: Path, case: Case) -> dict[str, Any]:
    """Take the steps as one rank; bytes of runtime and peak, and what was predicted."""
    import psutil
    from stage_runs import make_job

    from models.checkpoints import read_config
    from training_jobs.distributed import joined
    from training_jobs.engine import peak_bytes
    from training_jobs.feeding import Feeder, rows_of_steps
    from training_jobs.jobs import Tracking
    from training_jobs.preflight import Place, reckon
    from training_jobs.preflight_model import sizes_of, stage_model
    from training_jobs.reporting import Reporter
    from training_jobs.spec import load_stage
    from training_jobs.stage import prepare as ready
    from training_jobs.step import take_step
    from training_jobs.stopping import StopRequest
    from training_jobs.watchdog import Watchdog

    spec = load_stage(case.stage, "tiny").model_copy(  # type: ignore[arg-type]  # it is one of them
        update={
            "zero_stage": case.zero_stage,
            "gradient_checkpointing": case.checkpointing,
            "batch_rows": case.batch_rows,
            "sequence_length": case.sequence_length,
            "mctp_modules": 1 if case.stage == "single_mctp" else 2,
            "steps": STEPS,
        }
    )
    rank = int(os.environ["RANK"])
    output = Path(tempfile.mkdtemp(dir=folder))
    tracking = Tracking(uri="", artifact_root="", tags={})  # nothing is tracked
    job = make_job(output, folder / "model", folder / f"packs-{case.sequence_length}", tracking, spec)
    with (
        joined(spec, job.limits.collective_s) as world,
        Watchdog(output, rank, job.limits.collective_s) as watchdog,
    ):
        runtime = psutil.Process().memory_info().rss
        stage = ready(job, world, Reporter(lambda line: None), watchdog)
        steps = rows_of_steps(
            stage.rows, range(STEPS), rank, world.size, spec.micro_batch, spec.accumulation(world.size)
        )
        with Feeder(stage.rows, steps, world.device) as feeder:
            for step in range(STEPS):
                take_step(stage.engine, feeder, stage.rows, world, spec, step, StopRequest())
        peak = peak_bytes(world.device)
    sizes = sizes_of(stage_model(read_config(folder / "model"), spec), spec)
    needed = reckon(
        spec, sizes, Place("cpu", "CPU", world.size, 1, False, None, world.size), world.size
    ).memory
    return {
        "runtime": runtime,
        "peak": peak,
        "predicted": needed.peak.total,
        "moment": needed.peak.moment,
        "moments": {one.moment: one.total >> 20 for one in needed.moments},
    }


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
