"""Program ``tokenize_audio``: token ids of every accepted recording, by (audio digest, tokenizer digest).

Only pairs that the table ``audio_tokens`` lacks are computed, over all cores.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl
from tqdm import tqdm

from models import load_audio_tokenizer
from training_jobs.jobs import TokenizeJob, write_result
from training_jobs.lake_audio import read_waveform
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from validation.lake import Lake
from validation.schemas import frame_from_rows

_CHUNK = 32
# Below this many recordings the start of the workers costs more than it saves.
_ALONE = 200


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
    for corpus in job.corpora:
        recordings = _recordings(lake, corpus)
        known = _known(lake, corpus, recordings)
        present = set(known.filter(pl.col("tokenizer_digest") == digest)["audio_digest"])
        missing = recordings.filter(~pl.col("audio_digest").is_in(list(present)))
        encoded[corpus] = missing.height
        ids = list(_encode_all(job, missing["audio_path"].to_list(), corpus))
        rows = [
            {
                "corpus": corpus,
                "audio_digest": row["audio_digest"],
                "tokenizer_digest": digest,
                "token_ids": token_ids,
                "duration_s": row["duration_s"],
            }
            for row, token_ids in zip(missing.iter_rows(named=True), ids, strict=True)
        ]
        table = pl.concat([known, frame_from_rows("audio_tokens", rows)])
        lake.write_table("audio_tokens", corpus, table.sort("tokenizer_digest", "audio_digest"))
        report.log(f"{corpus}: {missing.height:,} of {recordings.height:,} recordings encoded")
    write_result(
        job.output_dir,
        {
            "tokenizer_digest": digest,
            "encoded": encoded,
            "seconds": round(time.monotonic() - started, 2),
        },
    )


def _recordings(lake: Lake, corpus: str) -> pl.DataFrame:
    """The corpus' accepted recordings, each content once."""
    accepted = lake.read_table("accepted_utterances", corpus).filter(pl.col("audio_digest").is_not_null())
    return accepted.unique("audio_digest", keep="first", maintain_order=True)


def _known(lake: Lake, corpus: str, recordings: pl.DataFrame) -> pl.DataFrame:
    """Token rows that are there already, of any tokenizer; those of recordings no longer accepted are dropped."""
    if not lake.has_table("audio_tokens", corpus):
        return frame_from_rows("audio_tokens", [])
    table = lake.read_table("audio_tokens", corpus)
    return table.filter(pl.col("audio_digest").is_in(recordings["audio_digest"].to_list()))


def _encode_all(job: TokenizeJob, paths: list[str], corpus: str) -> Iterator[list[int]]:
    """Token ids of each recording, in order."""
    workers = len(os.sched_getaffinity(0))
    progress = tqdm(total=len(paths), desc=f"encode {corpus}", mininterval=2, unit=" files")
    with progress:
        if workers == 1 or len(paths) < _ALONE:
            worker = _Worker(job.lake, job.tokenizer_dir)
            for path in paths:
                yield worker.encode(path)
                progress.update()
            return
        # Not fork: this process has threads (polars, torch) that a forked child would wait for in vain.
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(workers, context, _start_worker, (job.lake, job.tokenizer_dir)) as pool:
            for token_ids in pool.map(_encode_in_worker, paths, chunksize=_CHUNK):
                yield token_ids
                progress.update()


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
    import torch

    torch.set_num_threads(1)
    _worker = _Worker(lake, tokenizer_dir)


def _encode_in_worker(path: str) -> list[int]:
    assert _worker is not None
    return _worker.encode(path)


if __name__ == "__main__":
    main()
