"""Program ``fit_tokenizer``: the audio tokenizer's codebook from the training split.

Output: ``<output_dir>/tokenizer/``; ``result.json`` has ``tokenizer_digest``, by which token ids are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from models.tokenizers.mel_kmeans import MelKmeansTokenizer
from training_jobs.jobs import FitTokenizerJob, write_result
from training_jobs.lake_audio import Waveform, read_waveform
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from validation.atomic import replacing_directory
from validation.errors import UserError
from validation.lake import Lake


class NoTrainingAudioError(UserError):
    """No accepted recording in the training split."""


def main() -> None:
    """``python -m training_jobs.fit_tokenizer JOB.json``."""
    program_main(FitTokenizerJob, run)


def run(job: FitTokenizerJob, report: Reporter) -> None:
    """Draw recordings, train the codebook, save it.

    Raises:
        NoTrainingAudioError: naming the corpora.
        training_jobs.lake_audio.StoredAudioError: if a recording is not there.
    """
    started, settings = time.monotonic(), job.settings
    lake = Lake(job.lake)
    drawn = draw_recordings(lake, job.corpora, settings.max_training_seconds, settings.seed)
    seconds = float(drawn["duration_s"].sum())
    report.log(
        f"{settings.kind}: {drawn.height:,} recordings, {seconds:,.0f} s, for {settings.codes:,} codes"
    )
    # The matrices of one recording are too small for BLAS threads, which only wait for one another.
    with threadpool_limits(limits=1):
        tokenizer = MelKmeansTokenizer.train(
            _waveforms(lake, drawn), codes=settings.codes, iterations=settings.iterations, seed=settings.seed
        )
    with replacing_directory(job.output_dir / "tokenizer") as working:
        tokenizer.save(working)
    write_result(
        job.output_dir,
        {
            "tokenizer_digest": tokenizer.digest,
            "kind": settings.kind,
            "codes": tokenizer.vocabulary_size,
            "recordings": drawn.height,
            "training_audio_seconds": round(seconds, 1),
            "seconds": round(time.monotonic() - started, 2),
        },
    )
    report.log(f"{settings.kind}: {tokenizer.vocabulary_size:,} codes in {time.monotonic() - started:.0f} s")


def draw_recordings(lake: Lake, corpora: list[str], max_seconds: float, seed: int) -> pl.DataFrame:
    """Recordings of the training split in random order, up to ``max_seconds`` together (at least one); each audio once.

    Raises:
        NoTrainingAudioError: if there is none.
    """
    frames = [lake.read_table("accepted_utterances", corpus) for corpus in corpora]
    candidates = (
        pl.concat(frames)
        .filter((pl.col("split") == "train") & pl.col("audio_digest").is_not_null())
        .unique("audio_digest", keep="first", maintain_order=True)
        .sort("audio_digest")
    )
    if candidates.is_empty():
        raise NoTrainingAudioError(f"the corpora {corpora} have no accepted recording in the training split")
    order = np.random.default_rng(seed).permutation(candidates.height)
    is_drawn = (pl.col("duration_s").cum_sum() <= max_seconds) | (pl.int_range(pl.len()) == 0)
    drawn: pl.DataFrame = candidates[order.tolist()].filter(is_drawn)
    return drawn.select("audio_path", "audio_digest", "duration_s")


def _waveforms(lake: Lake, recordings: pl.DataFrame) -> Iterator[Waveform]:
    for path in tqdm(recordings["audio_path"].to_list(), desc="read audio", mininterval=2, unit=" files"):
        yield read_waveform(lake, path)


if __name__ == "__main__":
    main()
