"""What the step `audio_22k` costs over a bare decode-resample-write loop: verification, measures, digests, safety.

    python tests/bench/resampling.py                                # made-up FLAC files
    python tests/bench/resampling.py --root ../shared/data/librispeech

CPU seconds are those of all processes, so that they tell something on a busy machine too; times do not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import soundfile
import soxr
from figures import show

from assets.audio.resample import make_audio_22k
from assets.corpora.config import CorpusEntry
from assets.corpora.ingest import ingest
from validation.lake import Lake
from validation.stored_audio import STORED_RATE_HZ

FILES = 4_800  # long enough that the start of the workers is little beside the work, as it is in a corpus
SECONDS = 5.0
SOURCE_RATE_HZ = 16_000
REPEATS = 3
BARE = "bare loop, 1 core"
ONE = "audio_22k, 1 core"


def main() -> None:
    """Compare, the variants taking turns, so that a busy moment of the machine hits all alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a folder of recordings instead of made-up ones")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entry = make_corpus(root / "corpus") if options.root is None else recorded(options.root)
        files = audio_files(entry, Lake(str(root / "listed")))
        hours = sum(soundfile.info(path).duration for path in files) / 3600
        cores = sorted(os.sched_getaffinity(0))
        variants: dict[str, tuple[Callable[..., None], list[int]]] = {
            BARE: (bare_loops, cores[:1]),
            ONE: (step, cores[:1]),
            f"audio_22k, {len(cores)} cores": (step, cores),
            f"bare loops, {len(cores)} cores": (bare_loops, cores),
        }
        wall: dict[str, list[float]] = {name: [] for name in variants}
        cpu: dict[str, list[float]] = {name: [] for name in variants}
        for repeat in range(options.repeats):
            for index, (name, (run, its_cores)) in enumerate(variants.items()):
                seconds, cpu_s = timed(run, root / f"{repeat}-{index}", entry, files, its_cores)
                wall[name].append(seconds)
                cpu[name].append(cpu_s)
    rows: list[dict[str, Any]] = [
        {
            "variant": name,
            "seconds": median(wall[name]),
            "of the bare loop's speed": median(wall[BARE]) / median(wall[name]),
            "of one core's speed": median(wall[BARE if "bare" in name else ONE]) / median(wall[name]),
            "CPU seconds": median(cpu[name]),
            "CPU, of the bare loop's": median(cpu[name]) / median(cpu[BARE]),
            "hours per core-hour": 3600 * hours / median(cpu[name]),
        }
        for name in variants
    ]
    note = f"{len(files)} files, {hours:.2f} h, median of {options.repeats}, start of the workers included"
    show("audio path", note, rows)


def make_corpus(root: Path) -> CorpusEntry:
    """Filtered noise in the layout of named labels: it compresses about as badly as speech."""
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(FILES):
        noise = rng.standard_normal(round(SECONDS * SOURCE_RATE_HZ))
        soundfile.write(
            root / f"one_{index:04d}.flac", 0.1 * np.convolve(noise, np.ones(8) / 8, "same"), SOURCE_RATE_HZ
        )
    return CorpusEntry.model_validate(
        {
            "name": "bench",
            "reader": "labelled_names",
            "root": str(root),
            "options": {"pattern": r"(?P<label>[a-z]+)_(?P<take>\d+)\.flac"},
            "licence": "CC0-1.0",
            "language": "en",
        }
    )


def recorded(root: Path) -> CorpusEntry:
    """All recordings below a folder, without regard to their texts."""
    return CorpusEntry.model_validate(
        {
            "name": "bench",
            "reader": "untranscribed",
            "root": str(root.resolve()),
            "options": {"purpose": "tokenizer"},
            "licence": "unknown",
            "language": "en",
        }
    )


def audio_files(entry: CorpusEntry, lake: Lake) -> list[Path]:
    """The files that the step reads, each content once."""
    ingest(entry, lake)
    table = lake.read_table("raw_utterances", entry.name).unique("source_digest", maintain_order=True)
    return [Path(uri) for uri in table["audio_uri"]]


def timed(
    run: Callable[..., None], target: Path, entry: CorpusEntry, files: list[Path], cores: list[int]
) -> tuple[float, float]:
    """Seconds and CPU seconds that a variant takes on these cores, in a process of its own.

    The server that its workers are forked from would otherwise keep the cores of the variant that started it.
    """
    spawned = multiprocessing.get_context("spawn")
    answers, answer = spawned.Pipe(duplex=False)
    target.mkdir()
    process = spawned.Process(target=_timed, args=(answer, run, target, entry, files, cores))
    process.start()
    answer.close()
    try:
        seconds, cpu_s = answers.recv()
    finally:
        process.join()
        shutil.rmtree(target)
    return float(seconds), float(cpu_s)


def _timed(
    answer: Connection,
    run: Callable[..., None],
    target: Path,
    entry: CorpusEntry,
    files: list[Path],
    cores: list[int],
) -> None:
    os.sched_setaffinity(0, cores)  # its workers' as well
    ingest(entry, Lake(str(target)))  # the corpus is read beforehand
    began, before = time.perf_counter(), cpu_seconds()
    run(entry, files, target, len(cores))
    answer.send((time.perf_counter() - began, cpu_seconds() - before))


def cpu_seconds() -> float:
    """Of this process, of its children that have ended, and of the workers that were forked from a server."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    servers = [
        psutil.Process(child.pid).cpu_times()
        for child in psutil.Process().children()
        if "forkserver" in " ".join(child.cmdline())
    ]
    return sum(one.ru_utime + one.ru_stime for one in both) + sum(
        one.user + one.system + one.children_user + one.children_system for one in servers
    )


def step(entry: CorpusEntry, files: list[Path], target: Path, workers: int) -> None:
    """The step as the graph runs it."""
    done = make_audio_22k(entry, Lake(str(target)), workers)
    assert done.summary["files_done"] == len(files) and not done.summary["ended_here"], done


def bare_loops(entry: CorpusEntry, files: list[Path], target: Path, processes: int) -> None:
    """What the machine's cores give together: as many bare loops, each over its share, with nothing in common."""
    forked = multiprocessing.get_context("fork")
    folders = [target / str(index) for index in range(processes)]
    for folder in folders:
        folder.mkdir()
    loops = [
        forked.Process(target=bare_loop, args=(files[index::processes], folder))
        for index, folder in enumerate(folders)
    ]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
        assert loop.exitcode == 0, loop


def bare_loop(files: list[Path], target: Path) -> None:
    """The least that anyone would write."""
    for index, path in enumerate(files):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        mono = samples if samples.ndim == 1 else samples.mean(axis=1)
        stored = soxr.resample(mono, rate_hz, STORED_RATE_HZ, quality="HQ")
        soundfile.write(target / f"{index}.wav", stored, STORED_RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    main()
