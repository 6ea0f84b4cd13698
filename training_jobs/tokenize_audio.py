"""Program ``tokenize_audio``: token ids of every accepted recording, by (audio digest, tokenizer digest).

Only pairs that the table ``audio_tokens`` lacks are computed, over all cores.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from models import load_audio_tokenizer
from training_jobs.jobs import TokenizeJob, write_result
from training_jobs.lake_audio import read_waveform
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from validation.lake import Lake
from validation.schemas import frame_from_rows

_CHUNK = 32
# Below this many recordings (a millisecond each) the start of the workers costs more than it saves.
_ALONE = 4000


def main() -> None:
    """``python -m training_jobs.tokenize_audio JOB.json``."""
    program_main(TokenizeJob, run)


def run(job: TokenizeJob, report: Reporter) -> None:
    """Encode what is missing, corpus by corpus.

    Raises:
        training_jobs.lake_audio.StoredAudioError: if a recording is not there.
    """
    started = time.monotonic()
    lake = Lake(job.lake)
    digest = load_audio_tokenizer(job.tokenizer_dir).digest
    encoded: dict[str, int] = {}
    work = {corpus: _Corpus.look_up(lake, corpus, digest) for corpus in job.corpora}
    with _encoder(job, sum(one.missing.height for one in work.values())) as encode:
        for corpus, one in work.items():
            paths = one.missing["audio_path"].to_list()
            rows = [
                {
                    "corpus": corpus,
                    "audio_digest": row["audio_digest"],
                    "tokenizer_digest": digest,
                    "token_ids": token_ids,
                    "duration_s": row["duration_s"],
                }
                for row, token_ids in zip(
                    one.missing.iter_rows(named=True),
                    tqdm(encode(paths), f"encode {corpus}", len(paths), mininterval=2, unit=" files"),
                    strict=True,
                )
            ]
            table = pl.concat([one.known, frame_from_rows("audio_tokens", rows)])
            lake.write_table("audio_tokens", corpus, table.sort("tokenizer_digest", "audio_digest"))
            encoded[corpus] = len(rows)
            report.log(f"{corpus}: {len(rows):,} of {one.recordings:,} recordings encoded")
    write_result(
        job.output_dir,
        {
            "tokenizer_digest": digest,
            "encoded": encoded,
            "seconds": round(time.monotonic() - started, 2),
        },
    )


@dataclass(frozen=True)
class _Corpus:
    recordings: int
    missing: pl.DataFrame
    known: pl.DataFrame  # token rows that are there already, of any tokenizer

    @classmethod
    def look_up(cls, lake: Lake, corpus: str, digest: str) -> _Corpus:
        """Compare the accepted recordings, each content once, with the tokens that are there."""
        accepted = lake.read_table("accepted_utterances", corpus).filter(pl.col("audio_digest").is_not_null())
        recordings = accepted.unique("audio_digest", keep="first", maintain_order=True)
        known = frame_from_rows("audio_tokens", [])
        if lake.has_table("audio_tokens", corpus):
            # Those of recordings that are no longer accepted are dropped.
            wanted = recordings["audio_digest"].to_list()
            known = lake.read_table("audio_tokens", corpus).filter(pl.col("audio_digest").is_in(wanted))
        present = known.filter(pl.col("tokenizer_digest") == digest)["audio_digest"].to_list()
        return cls(recordings.height, recordings.filter(~pl.col("audio_digest").is_in(present)), known)


@contextmanager
def _encoder(job: TokenizeJob, files: int) -> Iterator[Callable[[list[str]], Iterator[list[int]]]]:
    """A function from paths to their token ids in order: here for few files, in a process per core for many."""
    workers = len(os.sched_getaffinity(0))
    if workers == 1 or files < _ALONE:
        worker = _Worker(job.lake, job.tokenizer_dir)
        yield lambda paths: map(worker.encode, paths)
        return
    # Not fork: this process has threads (polars, torch) that a forked child would wait for in vain.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _start_worker, (job.lake, job.tokenizer_dir)) as pool:
        yield lambda paths: pool.map(_encode_in_worker, paths, chunksize=_CHUNK)


class _Worker:
    def __init__(self, lake: str, tokenizer_dir: Path) -> None:
        self._lake = Lake(lake)
        self._tokenizer = load_audio_tokenizer(tokenizer_dir)

    def encode(self, path: str) -> list[int]:
        waveform, rate_hz = read_waveform(self._lake, path)
        return list(self._tokenizer.encode(waveform, rate_hz))


_worker: _Worker | None = None  # one per worker process


def _start_worker(lake: str, tokenizer_dir: Path) -> None:
    global _worker
    threadpool_limits(limits=1)
    _worker = _Worker(lake, tokenizer_dir)


def _encode_in_worker(path: str) -> list[int]:
    assert _worker is not None
    return _worker.encode(path)


if __name__ == "__main__":
    main()
