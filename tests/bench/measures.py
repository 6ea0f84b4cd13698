"""What the signal measures cost, in CPU seconds per hour of sound, beside decoding, resampling and writing it."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import soundfile
import soxr
from figures import show
from resampling import make_corpus

from validation.measures import measure
from validation.signal.flat_runs import clipping, dropouts
from validation.signal.levels import dynamics
from validation.signal.loudness import loudness_lufs
from validation.signal.low_frequency import low_frequency
from validation.signal.spectra import spectra
from validation.stored_audio import STORED_RATE_HZ
from validation.text.measures import text_measures

REPEATS = 5
TEXT_ROWS = 100_000


def main() -> None:
    """The bare loop, each family of measures and all of them, over the same files; and the measures of texts."""
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(Path(make_corpus(Path(folder) / "corpus").root).iterdir())
        sounds = [soundfile.read(path, dtype="float32") for path in paths]
        hours = sum(samples.size / rate for samples, rate in sounds) / 3600
        shared = [spectra(*sound) for sound in sounds]
        variants: dict[str, Callable[[], object]] = {
            "decode, resample, write": lambda: [bare(path) for path in paths],
            "spectra of 32 ms": lambda: [spectra(*sound) for sound in sounds],
            "levels, noise, silence": lambda: [dynamics(one) for one in shared],
            "rumble and hum": lambda: [low_frequency(*sound) for sound in sounds],
            "loudness": lambda: [loudness_lufs(*sound) for sound in sounds],
            "clipping": lambda: [
                clipping(*sound, float(sound[0].min()), float(sound[0].max())) for sound in sounds
            ],
            "drop-outs": lambda: [dropouts(*sound, 0.01) for sound in sounds],
            "all measures": lambda: [measure(*sound) for sound in sounds],
        }
        seconds = {name: cpu(run) / hours for name, run in variants.items()}
    bare_s = seconds["decode, resample, write"]
    rows = [
        {"what": name, "CPU s per hour": value, "of the bare path": value / bare_s}
        for name, value in seconds.items()
    ]
    show("signal measures", f"{len(paths)} FLAC files, {hours:.2f} h at 16 kHz, best of {REPEATS}", rows)
    texts = text_rows()
    spent = cpu(lambda: text_measures(texts, ["some", "unwanted phrase"]))
    show(
        "text measures",
        f"{TEXT_ROWS} texts of 12 words, best of {REPEATS}",
        [{"what": "all text measures", "CPU s per million": spent * 1e6 / TEXT_ROWS}],
    )


def cpu(run: Callable[[], object]) -> float:
    """CPU seconds of this process, the least of some runs."""
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)


def bare(path: Path) -> None:
    """The least that anyone would write, into memory."""
    samples, rate_hz = soundfile.read(path, dtype="float32")
    stored = soxr.resample(samples, rate_hz, STORED_RATE_HZ, quality="HQ")
    soundfile.write(io.BytesIO(), stored, STORED_RATE_HZ, format="WAV", subtype="PCM_16")


def text_rows() -> pl.DataFrame:
    """Texts of made-up words."""
    rng = np.random.default_rng(0)
    letters = rng.integers(97, 117, (5_000, 9)).astype(np.uint8)
    words = [bytes(row[: 2 + index % 8]).decode() for index, row in enumerate(letters)]
    picked = rng.integers(0, len(words), (TEXT_ROWS, 12))
    return pl.DataFrame({"text": [" ".join(words[i] for i in row) for row in picked], "language": "en"})


if __name__ == "__main__":
    main()
