"""Program ``tokenize_audio``: token ids of every accepted recording and of its variants, where they are missing.

Kept by (audio digest, tokenizer digest, digest of what the audio went through). Variants are made here, in memory, and
nowhere else. A run that was killed goes on from what it had written.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from models import load_audio_tokenizer
from training_jobs.augmented_audio import AugmentedAudio
from training_jobs.heard_audio import require_heard
from training_jobs.jobs import TokenizeJob, write_result
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.token_store import TokenStore
from validation.lake import Lake
from validation.lake_files import LakeFiles

_CHUNK = 32
# What one recording, and one variant, takes: below the last figure the start of the workers costs more than it saves.
_RECORDING_S, _VARIANT_S, _ALONE_S = 0.001, 0.02, 4.0

# Path of a recording, and as JSON what it goes through before it is encoded.
_Item = tuple[str, str]
_Encode = Callable[[Iterable[_Item]], Iterator[list[int]]]


def main() -> None:
    """``python -m training_jobs.tokenize_audio JOB.json``."""
    program_main(TokenizeJob, run)


def run(job: TokenizeJob, report: Reporter) -> None:
    """Encode what is missing, corpus by corpus.

    Raises:
        training_jobs.lake_audio.StoredAudioError: if a recording is not there.
        training_jobs.heard_audio.MissingViewError: if the tokenizer works at 16 kHz and a corpus has no such view.
    """
    started = time.monotonic()
    lake = Lake(job.lake)
    tokenizer = load_audio_tokenizer(job.tokenizer_dir)
    digest = tokenizer.digest
    require_heard(lake, job.corpora, tokenizer.sample_rate)
    stores = {corpus: TokenStore(lake, corpus, digest, tokenizer.sample_rate) for corpus in job.corpora}
    counts = {corpus: store.counts() for corpus, store in stores.items()}
    work_s = sum(_RECORDING_S * files + _VARIANT_S * variants for _, files, variants in counts.values())
    encoded: dict[str, int] = {}
    with _encoder(job, work_s) as encode:
        for corpus, store in stores.items():
            wanted, files, variants = counts[corpus]
            encoded[corpus] = files + variants
            # Of two runs over one lake, the second finds here what the first has encoded.
            with lake.turn(f"audio_tokens--{corpus}"):
                with tqdm(
                    total=encoded[corpus], desc=f"encode {corpus}", mininterval=2, unit=" files"
                ) as bar:
                    _encode_missing(store, encode, bar.update)
                store.finish()
            report.log(
                f"{corpus}: {files + variants:,} of {wanted:,} audios encoded, {variants:,} of them variants"
            )
    write_result(
        job.output_dir,
        {
            "tokenizer_digest": digest,
            "encoded": encoded,
            "seconds": round(time.monotonic() - started, 2),
        },
    )


def _encode_missing(store: TokenStore, encode: _Encode, done: Callable[[], object]) -> None:
    for batch in store.missing():
        items = list(zip(batch["audio_path"], batch["augmentation"], strict=True))
        keys = batch.select("audio_digest", "view_digest", "augmentation_digest", "duration_s").iter_rows()
        for (audio, view, augmentation, duration_s), token_ids in zip(keys, encode(items), strict=True):
            store.add(audio, augmentation, token_ids, duration_s, view)
            done()


@contextmanager
def _encoder(job: TokenizeJob, work_s: float) -> Iterator[_Encode]:
    """A function from recordings to their token ids in order: here for little work, in a process per core for much."""
    workers = len(os.sched_getaffinity(0))
    if workers == 1 or work_s < _ALONE_S:
        worker = _Worker(job.lake, job.tokenizer_dir)
        yield lambda items: map(worker.encode, items)
        return
    # Not fork: this process has threads (polars, torch) that a forked child would wait for in vain.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, _start_worker, (job.lake, job.tokenizer_dir)) as pool:
        yield lambda items: pool.map(_encode_in_worker, items, chunksize=_CHUNK)


class _Worker:
    def __init__(self, lake: str, tokenizer_dir: Path) -> None:
        self._audio = AugmentedAudio(LakeFiles(lake))
        self._tokenizer = load_audio_tokenizer(tokenizer_dir)

    def encode(self, item: _Item) -> list[int]:
        waveform, rate_hz = self._audio.read(*item)
        return list(self._tokenizer.encode(waveform, rate_hz))


_worker: _Worker | None = None  # one per worker process


def _start_worker(lake: str, tokenizer_dir: Path) -> None:
    global _worker
    threadpool_limits(limits=1)
    _worker = _Worker(lake, tokenizer_dir)


def _encode_in_worker(item: _Item) -> list[int]:
    assert _worker is not None
    return _worker.encode(item)


if __name__ == "__main__":
    main()
