"""How full packed rows are: our best fit, filled alike, beside best fit alone and beside upstream's greedy scheme.

The lengths are drawn, not measured: recordings of log-normal duration at 12.5 audio tokens a second with transcripts of
3.3 text tokens a second, as speech recognition, speech synthesis, spoken questions and texts, which is what a mixture
of public corpora looks like. ``--pack DIRECTORY`` takes those of a pack that has been made.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from figures import show
from numpy.typing import NDArray

from training_jobs.greedy import pack_greedily
from training_jobs.leveling import LEAST_FILL
from training_jobs.packing import pack_best_fit
from training_jobs.plan import SAMPLES_FILE

LENGTHS = (2_048, 32_768)
SAMPLES = (2_000, 20_000, 200_000, 1_000_000)
SHARES = {"asr": 0.35, "tts": 0.30, "conversation": 0.20, "text": 0.15}
AUDIO_PER_S, TEXT_PER_S = 12.5, 3.3


def realistic(count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens of each sample, and the number of its task."""
    tasks = rng.choice(len(SHARES), size=count, p=list(SHARES.values()))

    def seconds(median: float, spread: float) -> NDArray[np.float64]:
        return np.clip(rng.lognormal(np.log(median), spread, count), 0.6, 40.0)

    read, spoken, asked = seconds(8, 0.8), seconds(6, 0.7), seconds(5, 0.6)
    answered = np.clip(rng.lognormal(np.log(25), 0.6, count), 1, 90)
    lengths = np.choose(
        tasks,
        [
            read * (AUDIO_PER_S + TEXT_PER_S) + 22,
            spoken * (AUDIO_PER_S + 2 * TEXT_PER_S) + 24,  # the text is asked for and said
            asked * AUDIO_PER_S + answered * (AUDIO_PER_S + TEXT_PER_S) + 30,
            rng.lognormal(np.log(180), 1.1, count) + 20,
        ],
    )
    return lengths.astype(np.int64), tasks


def schemes(sizes: NDArray[np.int64], kinds: NDArray[np.int64], capacity: int) -> list[dict[str, Any]]:
    """Each scheme's rows."""
    order = np.random.default_rng(0).permutation(len(sizes))
    samples = list(zip(sizes[order].tolist(), kinds[order].tolist(), strict=True))
    rows = []
    for name, joint in (("upstream, by file", False), ("upstream, joint", True)):
        started = time.process_time()
        packed = pack_greedily(samples, capacity, joint)
        rows.append(
            {
                "scheme": name,
                "rows": packed.rows,
                "mean fill %": 100 * packed.fill(capacity),
                "emptiest %": None,
                "rows below 99 %": None,
                "lost samples": packed.lost_samples,
                "CPU s": time.process_time() - started,
            }
        )
    for name, alike in (("best fit alone", False), ("best fit, filled alike", True)):
        started = time.process_time()
        packed_rows = pack_best_fit(sizes, kinds, capacity, np.random.default_rng(0), alike)
        seconds = time.process_time() - started
        fill = np.add.reduceat(sizes[packed_rows.members], packed_rows.starts[:-1]) / capacity
        rows.append(
            {
                "scheme": name,
                "rows": len(packed_rows),
                "mean fill %": 100 * float(fill.mean()),
                "emptiest %": 100 * float(fill.min()),
                "rows below 99 %": int((fill < LEAST_FILL).sum()),
                "lost samples": 0,
                "CPU s": seconds,
            }
        )
    return rows


def main() -> None:
    """Compare at both row lengths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    parser.add_argument("--pack", type=Path, help="a finished pack, whose samples are packed again")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    for count in [0] if arguments.pack else arguments.samples:
        sizes, kinds = (
            _of_pack(arguments.pack) if arguments.pack else realistic(count, np.random.default_rng(0))
        )
        for capacity in LENGTHS:
            fits = sizes <= capacity
            for row in schemes(sizes[fits], kinds[fits], capacity):
                found.append({"length": capacity, "samples": int(fits.sum()), **row})
    sizes, _ = _of_pack(arguments.pack) if arguments.pack else realistic(100_000, np.random.default_rng(0))
    note = (
        f"samples of {sizes.mean():.0f} tokens on average, 99th percentile {np.percentile(sizes, 99):.0f}, "
        f"{(sizes > LENGTHS[0]).mean():.2%} longer than {LENGTHS[0]:,}; one process"
    )
    show("packing", note, found)


def _of_pack(directory: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    samples = pl.read_parquet(directory / SAMPLES_FILE, columns=["corpus", "tokens"])
    return samples["tokens"].to_numpy().astype(np.int64), samples["corpus"].rank("dense").to_numpy().astype(
        np.int64
    )


if __name__ == "__main__":
    main()
