"""What the leakage gate costs per row: by digest, text and speaker, and by acoustic fingerprint."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import soundfile
from figures import show

from validation.batches import write_batches
from validation.fingerprint import FINGERPRINT_RECIPE, fingerprint
from validation.lake import Lake
from validation.leakage import check_leakage
from validation.leakage_rules import Evaluation, EvaluationSet, Rules
from validation.stored_audio import STORED_RATE_HZ

CORPORA = ("a", "b", "c", "d")
ROWS = (100_000, 1_000_000, 10_000_000)
CLIPS = (10_000, 100_000, 1_000_000)
EVALUATION_CLIPS = 1_000
FRAMES = 300
SAMPLES = 106_900  # of FRAMES frames: 4.8 s
LEAKS = 100
EXACT = EvaluationSet(name="test", speakers="all", rules=Rules(near_audio="ignore"))
NEAR = EvaluationSet(name="test", rules=Rules(audio="ignore", text="ignore", speaker="ignore"))


def main() -> None:
    """Each size in a process of its own, so that its memory is its own too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="rows of the gate without audio")
    parser.add_argument(
        "--clips", type=int, nargs="*", default=CLIPS, help="clips of the gate by fingerprint"
    )
    options = parser.parse_args()
    rows = [_alone("digest, text, speaker", count) for count in options.rows]
    clips = [_alone("fingerprint", count) for count in options.clips]
    note = (
        f"1 % of the rows are for evaluation, {LEAKS} of each kind leak; fingerprints: {EVALUATION_CLIPS} "
        f"evaluation clips against all others, {FRAMES / 62.5} s each. Seconds "
        "are of the gate alone, digests of its inputs included."
    )
    show("leakage gate", note, rows + clips)


def _alone(gate: str, count: int) -> dict[str, float | str | int]:
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as maker,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker,
    ):
        maker.submit(_make_rows if gate != "fingerprint" else _make_clips, folder, count).result()
        seconds, cpu_seconds, findings, peak_mib = worker.submit(_check, folder, gate).result()
    return {
        "gate": gate,
        "rows": count,
        "seconds": seconds,
        "CPU seconds": cpu_seconds,
        "CPU µs per row": 1e6 * cpu_seconds / count,
        "peak MiB": peak_mib,
        "found": findings,
    }


def _check(folder: str, gate: str) -> tuple[float, float, int, float]:
    one = NEAR if gate == "fingerprint" else EXACT
    began, cpu_began = time.perf_counter(), time.process_time()
    outcome = check_leakage(Lake(folder), Evaluation(sets=(one,)), CORPORA, {})
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return seconds, cpu_seconds, outcome.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _make_rows(folder: str, count: int) -> None:
    """Rows of 100 utterances per speaker and 40 letters of text; every 100th is held out, with its speaker."""
    every = count // LEAKS
    for place, corpus in enumerate(CORPORA):
        path = Path(folder, "tables", "accepted_utterances", f"{corpus}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        # A leaking row has the audio, or the speaker and words, of the held-out row before it.
        statement = f"""
            COPY (
                WITH n AS (
                    SELECT i, i % 100 = 0 AS held, i % {every} = 1 AS copied, i % {every} = 2 AS said
                    FROM range({place * count // 4}, {(place + 1) * count // 4}) r(i)
                )
                SELECT '{corpus}' AS corpus, 'utterance-' || lpad(i::VARCHAR, 10, '0') AS utterance_id,
                    CASE WHEN held THEN 'test' ELSE 'train' END AS split, ['asr', 'tts'] AS tasks,
                    CASE WHEN held OR said THEN 'held ' || (i // 10000) ELSE 'speaker ' || (i // 100) END AS speaker,
                    'en' AS language,
                    'The words, of ' || md5((i - CASE WHEN said THEN 2 ELSE 0 END)::VARCHAR) AS text,
                    'CC0-1.0' AS licence, 'list.txt:' || i AS source, sha256(i::VARCHAR) AS source_digest,
                    NULL::VARCHAR AS conversation_id, NULL::INTEGER AS marker, NULL::VARCHAR AS messages,
                    'audio_22k/x/' || i || '.wav' AS audio_path,
                    sha256((i - CASE WHEN copied THEN 1 ELSE 0 END)::VARCHAR) AS audio_digest,
                    4.8::DOUBLE AS duration_s
                FROM n
            ) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"""
        with duckdb.connect() as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.execute(statement)


def _make_clips(folder: str, count: int) -> None:
    """Fingerprints as random as speech's are; some of the training clips are noisy copies of evaluation clips."""
    lake = Lake(folder)
    rng = np.random.default_rng(0)
    originals = rng.integers(1, 2**32, (EVALUATION_CLIPS, FRAMES), dtype=np.uint32)
    copies = np.empty((LEAKS, FRAMES), dtype=np.uint32)
    for number in range(LEAKS):
        heard = _bursts(rng)
        originals[number] = _stored(lake, number, heard)
        copies[number] = _stored(lake, count - LEAKS + number, heard + 0.01 * _bursts(rng))
    for place, corpus in enumerate(CORPORA):
        names, batches = [], []
        for start in range(place * count // 4, (place + 1) * count // 4, 10_000):
            here = np.arange(start, min(start + 10_000, (place + 1) * count // 4))
            words = rng.integers(1, 2**32, (len(here), FRAMES), dtype=np.uint32)
            words[here < EVALUATION_CLIPS] = originals[here[here < EVALUATION_CLIPS]]
            copied = (here >= count - LEAKS) & (here >= EVALUATION_CLIPS)
            words[copied] = copies[here[copied] - (count - LEAKS)]
            digests = [f"{number:064x}" for number in here]
            names += [(digest, number) for digest, number in zip(digests, here.tolist(), strict=True)]
            batches.append((digests, words))
        frames = (
            pl.DataFrame(
                {
                    "corpus": [corpus] * len(digests),
                    "audio_digest": digests,
                    "frames": pl.Series(words).arr.to_list(),
                    "recipe": pl.Series([FINGERPRINT_RECIPE] * len(digests), dtype=pl.Int32),
                    "loud_frames": pl.Series([FRAMES] * len(digests), dtype=pl.Int64),
                }
            )
            for digests, words in batches
        )
        write_batches(lake, "audio_fingerprints", corpus, frames)
        lake.write_manifest("audio_fingerprints", corpus, str(count), {})
        _write_names(folder, corpus, names)


def _bursts(rng: np.random.Generator) -> np.ndarray:
    """Noise that changes its level ten times a second."""
    levels = np.repeat(rng.random(SAMPLES // 2000 + 1), 2000)[:SAMPLES]
    return (0.1 * levels * rng.standard_normal(SAMPLES)).astype(np.float32)


def _stored(lake: Lake, number: int, samples: np.ndarray) -> np.ndarray:
    with lake.atomic_write(f"audio_22k/{number}.wav") as stream:
        soundfile.write(stream, samples, STORED_RATE_HZ, format="WAV", subtype="PCM_16")
    return fingerprint(samples, STORED_RATE_HZ)


def _write_names(folder: str, corpus: str, names: list[tuple[str, int]]) -> None:
    path = Path(folder, "tables", "accepted_utterances", f"{corpus}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "corpus": [corpus] * len(names),
            "utterance_id": [digest[-12:] for digest, _ in names],
            "source": ["list.txt"] * len(names),
            "split": ["test" if number < EVALUATION_CLIPS else "train" for _, number in names],
            "speaker": ["s"] * len(names),
            "text": [""] * len(names),
            "messages": pl.Series([None] * len(names), dtype=pl.String),
            "audio_digest": [digest for digest, _ in names],
            "audio_path": [f"audio_22k/{number}.wav" for _, number in names],
        }
    ).write_parquet(path)


if __name__ == "__main__":
    main()
