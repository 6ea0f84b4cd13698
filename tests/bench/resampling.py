"""What the step `audio_22k` costs over a bare decode-resample-write loop: verification, measures, digests, safety."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import soxr
from figures import show

from assets.audio.resample import make_audio_22k
from assets.corpora.config import CorpusEntry
from assets.corpora.ingest import ingest
from validation.lake import Lake
from validation.stored_audio import STORED_RATE_HZ

FILES = 480
SECONDS = 5.0
SOURCE_RATE_HZ = 16_000
REPEATS = 3


def main() -> None:
    """Compare, the variants taking turns, so that a busy moment of the machine hits all alike."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        entry = make_corpus(root / "corpus")
        workers = len(os.sched_getaffinity(0))
        variants: dict[str, Callable[[Path], None]] = {
            "bare loop, 1 process": lambda target: bare_loop(Path(entry.root), target),
            "audio_22k, 1 worker": lambda target: step(entry, target, 1),
            f"audio_22k, {workers} workers": lambda target: step(entry, target, workers),
        }
        taken: dict[str, list[float]] = {name: [] for name in variants}
        for repeat in range(REPEATS):
            for index, (name, run) in enumerate(variants.items()):
                taken[name].append(timed(run, root / f"{repeat}-{index}", entry))
    hours = FILES * SECONDS / 3600
    rows = [
        {
            "variant": name,
            "seconds": median(times),
            "audio seconds per second": FILES * SECONDS / median(times),
            "of the bare loop's speed": median(taken["bare loop, 1 process"]) / median(times),
        }
        for name, times in taken.items()
    ]
    show(
        "audio path",
        f"{FILES} FLAC files, {hours:.2f} h at {SOURCE_RATE_HZ} Hz, median of {REPEATS}, start of the workers included",
        rows,
    )


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


def timed(run: Callable[[Path], None], target: Path, entry: CorpusEntry) -> float:
    """Seconds that a variant takes; the corpus is read beforehand."""
    target.mkdir()
    ingest(entry, Lake(str(target)))
    began = time.perf_counter()
    run(target)
    return time.perf_counter() - began


def step(entry: CorpusEntry, target: Path, workers: int) -> None:
    """The step as the graph runs it."""
    done = make_audio_22k(entry, Lake(str(target)), workers)
    assert done.rows == FILES, done


def bare_loop(source: Path, target: Path) -> None:
    """The least that anyone would write."""
    for path in sorted(source.iterdir()):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        stored = soxr.resample(samples, rate_hz, STORED_RATE_HZ, quality="HQ")
        soundfile.write(target / f"{path.stem}.wav", stored, STORED_RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    main()
