"""A training stage killed again and again, and the same stage undisturbed: a table, and both loss curves as a picture.

    python tests/bench/stage_kills.py [--picture docs/images/loss_through_kills.png]

Each part of the stage is killed in turn (a rank, torchrun, its supervisor, everything in the midst of a save); the next
run goes on. The table says what was lost by it, and whether all losses and weights are the same to the last bit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from robustness.stage_kills import VICTIMS, kill, newest
from stage_runs import LIMITS, SPEC, assert_same_outcome, losses, make_base, make_job, make_packs
from waiting import until

from training_jobs.jobs import Tracking, write_job
from training_jobs.launch import train_command
from training_jobs.tracking_store import prepare_store

_STEPS, _SAVES = 400, 40


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path, help="where to draw both loss curves")
    picture = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder:
        _run(Path(folder), picture)


def _run(folder: Path, picture: Path | None) -> None:
    (folder / "base").mkdir()
    (folder / "packs").mkdir()
    base, packs = make_base(folder / "base"), make_packs(folder / "packs")
    tracking = Tracking(
        uri=f"sqlite:///{folder / 'mlflow.db'}", artifact_root=str(folder / "artifacts"), tags={}
    )
    prepare_store(tracking)
    spec = SPEC.model_copy(update={"steps": _STEPS, "checkpoints": _SAVES, "learning_rate": 2e-3})

    def start(output: Path) -> subprocess.Popen[bytes]:
        output.mkdir(exist_ok=True)
        job = write_job(make_job(output, base, packs, tracking, spec), output / "job.json")
        return subprocess.Popen(train_command(job, output / "log.txt", 2, LIMITS, quiet=True))

    whole, killed = folder / "whole", folder / "killed"
    assert start(whole).wait() == 0
    say("| killed | code | last checkpoint, steps | s from start to the first step |")
    say("| --- | --- | --- | --- |")
    kills: list[tuple[str, int]] = []
    for victim in VICTIMS:
        reached, began = newest(killed), time.monotonic()
        stage = start(killed)
        until(lambda: newest(killed) > reached, "a checkpoint")  # noqa: B023 - called before the next turn
        ready_s = time.monotonic() - began
        until(lambda: newest(killed) > reached + 2 * _STEPS // _SAVES, "more checkpoints")  # noqa: B023
        code = kill(stage, victim, killed)
        kills.append((victim, newest(killed)))
        say(f"| {victim} | {code} | {newest(killed)} | {ready_s:.1f} |")
    assert start(killed).wait() == 0
    assert_same_outcome(whole, killed)
    say(f"\n{_STEPS} losses and all weights: equal to the last bit")
    if picture is not None:
        _draw(losses(whole), losses(killed), kills, picture)


def _draw(whole: list[float], killed: list[float], kills: list[tuple[str, int]], picture: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4), dpi=100)
    axes.plot(whole, color="#c8c8c8", linewidth=5, label="undisturbed")
    axes.plot(killed, color="#1f5fa8", linewidth=1, label="killed five times")
    for victim, step in kills:
        axes.axvline(step, color="#b03030", linewidth=0.8, linestyle="--")
        axes.text(step + 2, max(whole), victim, rotation=90, va="top", fontsize=8, color="#b03030")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats")
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
