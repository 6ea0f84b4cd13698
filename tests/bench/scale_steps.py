"""One child of the benchmark of scale: a data step at one size, or what is made for it beforehand.

    python tests/bench/scale_steps.py STEP FOLDER ROWS

Imports are inside the functions: a step's memory is to be that of its own imports.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Step = Callable[[], int]  # gives the rows that it made
_LEAST_LEFT = 0.97  # of the rows: two of a hundred are noisy


def main() -> None:
    """The last line of the output is the answer, as JSON."""
    what, folder, rows = sys.argv[1:]
    found = TASKS[what](Path(folder), int(rows))
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def _measured(step: Step, rows: int) -> dict[str, Any]:
    began, before = time.perf_counter(), _cpu_s()
    done = step()
    seconds, cpu_s = time.perf_counter() - began, _cpu_s() - before
    assert _LEAST_LEFT * rows <= done <= rows, (done, rows)
    return {"seconds": seconds, "cpu_s": cpu_s, "peak_mib": _peak_mib()}


def _cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_mib() -> float:
    """Of the larger one: this process, or a worker of it.

    The kernel's ``ru_maxrss`` of a process includes what its parent had when it forked; ``VmHWM`` does not.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def _lake(folder: Path) -> Any:
    from validation.lake import Lake

    return Lake(str(folder / "lake"))


def _entry(folder: Path) -> Any:
    from synthetic import make_entry

    return make_entry(folder / "corpus")


def _make_files(folder: Path, rows: int) -> dict[str, Any]:
    from synthetic import make_corpus

    make_corpus(folder / "corpus", rows)
    return {}


def _make_tables(folder: Path, rows: int) -> dict[str, Any]:
    import synthetic

    lake = _lake(folder)
    synthetic.make_raw(lake, rows)
    synthetic.make_results(lake, stored_files=False)
    synthetic.make_audio(lake)
    return {}


def _before_audio(folder: Path, rows: int) -> dict[str, Any]:
    import synthetic

    synthetic.make_results(_lake(folder), stored_files=True)
    return {}


def _before_fingerprints(folder: Path, rows: int) -> dict[str, Any]:
    import synthetic

    synthetic.make_fingerprints(_lake(folder))
    return {}


def _before_packs(folder: Path, rows: int) -> dict[str, Any]:
    import synthetic

    synthetic.make_tokens(_lake(folder))
    return {}


# Each of these imports what its step needs and gives the step itself, which alone is timed.


def _ingest(folder: Path, rows: int) -> Step:
    from assets.corpora.ingest import ingest

    entry, lake = _entry(folder), _lake(folder)
    return lambda: ingest(entry, lake).rows


def _audio(folder: Path, rows: int) -> Step:
    from assets.audio.resample import make_audio_22k

    entry, lake = _entry(folder), _lake(folder)
    return lambda: make_audio_22k(entry, lake, len(os.sched_getaffinity(0))).rows


def _quality(folder: Path, rows: int) -> Step:
    from assets.audio.quality import measure_corpus

    entry, lake = _entry(folder), _lake(folder)
    return lambda: measure_corpus(entry, lake).rows


def _accept(folder: Path, rows: int) -> Step:
    from assets.corpora.acceptance import accept
    from validation.ledger import balance

    entry, lake = _entry(folder), _lake(folder)

    def step() -> int:
        outcome = accept(entry, lake)
        found = balance(lake, entry.name)
        assert found.holds and found.read == rows and outcome.rows < rows, found
        return outcome.rows

    return step


def _report(folder: Path, rows: int) -> Step:
    from assets.report.build import report_corpus

    entry, lake = _entry(folder), _lake(folder)
    return lambda: report_corpus(entry, lake).outcome.rows


def _fingerprints(folder: Path, rows: int) -> Step:
    from assets.audio.fingerprints import make_fingerprints

    entry, lake = _entry(folder), _lake(folder)
    return lambda: make_fingerprints(entry, lake).rows


def _leakage(folder: Path, rows: int) -> Step:
    from assets.leakage import held_out_speakers
    from validation.leakage import check_leakage
    from validation.leakage_rules import Evaluation, EvaluationSet, Rules

    entry, lake = _entry(folder), _lake(folder)
    # Near copies have a benchmark of their own (tests/bench/leakage.py).
    one = EvaluationSet(name="test", rules=Rules(near_audio="ignore"))

    def step() -> int:
        speakers = {entry.name: held_out_speakers(lake, entry)}
        check_leakage(lake, Evaluation(sets=(one,)), [entry.name], speakers)
        return rows

    return step


def _duplicates(folder: Path, rows: int) -> Step:
    from validation.leakage_duplicates import find_duplicates

    entry, lake = _entry(folder), _lake(folder)

    def step() -> int:
        find_duplicates(lake, [entry.name])
        return rows

    return step


def _jsonl(folder: Path, rows: int) -> Step:
    from assets.corpora.training_jsonl import build_jsonl

    entry, lake = _entry(folder), _lake(folder)
    return lambda: build_jsonl(entry, lake).rows // 2  # two tasks


def _packs(folder: Path, rows: int) -> Step:
    from synthetic import CODES, CORPUS, TOKENIZER

    from models import extend_text_tokenizer, make_byte_tokenizer
    from training_jobs.jobs import PackJob
    from training_jobs.pack import run
    from training_jobs.profile import MixtureItem
    from training_jobs.reporting import Reporter

    model_dir = folder / "model"
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(model_dir)
    job = PackJob(
        lake=str(folder / "lake"),
        corpora=[CORPUS],
        model_dir=model_dir,
        tokenizer_digest=TOKENIZER,
        mixture=[MixtureItem(task="asr", ratio=1.0), MixtureItem(task="tts", ratio=1.0)],
        ratio=(1, 10, 4, 10),
        sequence_length=2048,
        seed=42,
        output_dir=folder / "packs",
    )

    def step() -> int:
        run(job, Reporter(lambda line: None))
        return rows

    return step


RUN: dict[str, Callable[[Path, int], Step]] = {
    "raw_utterances": _ingest,
    "audio_22k": _audio,
    "audio_quality": _quality,
    "accepted_utterances": _accept,
    "corpus_report": _report,
    "audio_fingerprints": _fingerprints,
    "leakage": _leakage,
    "duplicates": _duplicates,
    "training_jsonl": _jsonl,
    "stage_packs": _packs,
}
BEFORE = {
    "audio_22k": _before_audio,
    "audio_fingerprints": _before_fingerprints,
    "stage_packs": _before_packs,
}
MADE_FROM = {
    "raw_utterances": (),
    "audio_22k": ("raw_utterances",),
    "audio_quality": ("audio_22k",),
    "accepted_utterances": ("audio_quality",),
    "corpus_report": ("accepted_utterances",),
    "audio_fingerprints": ("accepted_utterances",),
    "leakage": ("accepted_utterances",),
    "duplicates": ("audio_fingerprints",),
    "training_jsonl": ("accepted_utterances",),
    "stage_packs": ("training_jsonl",),
}
# The steps of the job prepare_data.
PREPARE = tuple(step for step in RUN if step != "stage_packs")


def _again(folder: Path, rows: int) -> dict[str, Any]:
    """All steps over what did not change, and how many recordings they open."""
    opened = {"audio": 0}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[0].endswith(".wav"):
            opened["audio"] += 1

    sys.addaudithook(hook)
    began = time.perf_counter()
    row: dict[str, Any] = {"rows": rows}
    for step in PREPARE:
        row[step] = _measured(RUN[step](folder, rows), rows)["seconds"]
    row["all"] = time.perf_counter() - began
    return {**row, "audio files opened": opened["audio"], "peak MiB": _peak_mib()}


TASKS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "files": _make_files,
    "tables": _make_tables,
    **{f"before {step}": make for step, make in BEFORE.items()},
    **{step: (lambda folder, rows, run=run: _measured(run(folder, rows), rows)) for step, run in RUN.items()},
    "again": _again,
}

STEPS = tuple(RUN)
NEED_FILES = STEPS[:2]


if __name__ == "__main__":
    main()
