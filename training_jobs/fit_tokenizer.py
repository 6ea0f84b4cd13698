"""Program ``fit_tokenizer``: the audio tokenizer's codebook from the training split, or the one of imported weights.

Output: ``<output_dir>/tokenizer/``; ``recordings.parquet``, the audio that it was trained from; ``result.json`` has
``tokenizer_digest``, by which token ids are kept.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from models.tokenizers.interface import load_audio_tokenizer, read_tokenizer_config
from models.tokenizers.mel_kmeans import MelKmeansTokenizer
from training_jobs.heard_audio import heard_path, own_rate
from training_jobs.jobs import FitTokenizerJob, write_result
from training_jobs.lake_audio import Waveform, read_waveforms
from training_jobs.plan import RECORDINGS_FILE
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from validation.atomic import replacing, replacing_directory
from validation.batches import batches_of, database, files_of
from validation.errors import UserError
from validation.lake import Lake
from validation.tasks import NOISE


class TokenizerSizeError(UserError):
    """An imported tokenizer that the profile has not the size for; names both numbers of codes."""


class NoTrainingAudioError(UserError):
    """No accepted recording in the training split."""


def main() -> None:
    """``python -m training_jobs.fit_tokenizer JOB.json``."""
    program_main(FitTokenizerJob, run)


def run(job: FitTokenizerJob, report: Reporter) -> None:
    """Draw recordings, train the codebook, save it; or take the tokenizer that is given.

    Raises:
        TokenizerSizeError: if that has another number of codes than the profile.
        NoTrainingAudioError: naming the corpora.
        training_jobs.lake_audio.StoredAudioError: if a recording is not there.
        training_jobs.heard_audio.MissingViewError: if it is to work at 16 kHz and a corpus has no such view.
    """
    started, settings = time.monotonic(), job.settings
    if job.given is not None:
        _take(job.given, job, report)
        return
    lake = Lake(job.lake)
    rate_hz = own_rate(lake, job.corpora, settings.sample_rate)
    drawn = draw_recordings(
        lake, job.corpora, settings.max_training_seconds, settings.seed, heard_path(rate_hz)
    )
    seconds = float(drawn["duration_s"].sum())
    report.log(
        f"{settings.kind}: {drawn.height:,} recordings, {seconds:,.0f} s at {rate_hz:,} Hz, for "
        f"{settings.codes:,} codes"
    )
    # The matrices of one recording are too small for BLAS threads, which only wait for one another.
    with threadpool_limits(limits=1):
        tokenizer = MelKmeansTokenizer.train(
            _waveforms(lake, drawn),
            codes=settings.codes,
            iterations=settings.iterations,
            seed=settings.seed,
            sample_rate=rate_hz,
        )
    with replacing_directory(job.output_dir / "tokenizer") as working:
        tokenizer.save(working)
    with replacing(job.output_dir / RECORDINGS_FILE) as path:
        drawn.select("audio_digest").write_parquet(path)
    write_result(
        job.output_dir,
        {
            "tokenizer_digest": tokenizer.digest,
            "kind": settings.kind,
            "sample_rate": rate_hz,
            "codes": tokenizer.vocabulary_size,
            "recordings": drawn.height,
            "training_audio_seconds": round(seconds, 1),
            "seconds": round(time.monotonic() - started, 2),
        },
    )
    report.log(f"{settings.kind}: {tokenizer.vocabulary_size:,} codes in {time.monotonic() - started:.0f} s")


def _take(given: Path, job: FitTokenizerJob, report: Reporter) -> None:
    started, tokenizer = time.monotonic(), load_audio_tokenizer(given)
    if tokenizer.vocabulary_size != job.settings.codes:
        raise TokenizerSizeError(
            f"the imported audio tokenizer {given} has {tokenizer.vocabulary_size} codes, but the profile's "
            f"audio_tokenizer.codes is {job.settings.codes}"
        )
    with replacing_directory(job.output_dir / "tokenizer") as working:
        shutil.copytree(given, working, dirs_exist_ok=True)
    with replacing(job.output_dir / RECORDINGS_FILE) as path:
        pl.DataFrame(schema={"audio_digest": pl.String}).write_parquet(path)
    write_result(
        job.output_dir,
        {
            "tokenizer_digest": tokenizer.digest,
            "kind": read_tokenizer_config(given)["kind"],
            "sample_rate": tokenizer.sample_rate,
            "codes": tokenizer.vocabulary_size,
            "given": str(given),
            "seconds": round(time.monotonic() - started, 2),
        },
    )
    report.log(f"{tokenizer.vocabulary_size:,} codes, as they were imported with the weights")


def draw_recordings(
    lake: Lake, corpora: list[str], max_seconds: float, seed: int, path: str = "audio_path"
) -> pl.DataFrame:
    """Recordings of the training split in random order, up to ``max_seconds`` together (at least one); each audio once.

    Noise is none of them.

    Args:
        path: The column of ``accepted_utterances`` that becomes ``audio_path``.

    Raises:
        NoTrainingAudioError: if there is none.
    """
    # The hash decides the order, so that a recording that is added or dropped moves no other one.
    statement = f"""SELECT min({path}) AS audio_path, audio_digest, min(duration_s) AS duration_s
        FROM {files_of(lake, "accepted_utterances", corpora)}
        WHERE split = 'train' AND audio_digest IS NOT NULL AND NOT list_contains(tasks, ?)
        GROUP BY audio_digest ORDER BY md5(audio_digest || ?), audio_digest"""  # noqa: S608 - the paths are quoted
    drawn: list[pl.DataFrame] = []
    seconds = 0.0
    with database(lake) as connection:
        for batch in batches_of(connection, statement, [NOISE, str(seed)]):
            until = seconds + batch["duration_s"].cum_sum()
            fits = until <= max_seconds
            drawn.append(batch.filter(fits) if drawn else batch.filter(fits | (pl.int_range(pl.len()) == 0)))
            seconds = float(until[-1])
            if seconds > max_seconds:
                break
    if not drawn:
        raise NoTrainingAudioError(f"the corpora {corpora} have no accepted recording in the training split")
    return pl.concat(drawn)


def _waveforms(lake: Lake, recordings: pl.DataFrame) -> Iterator[Waveform]:
    paths = tqdm(recordings["audio_path"].to_list(), desc="read audio", mininterval=2, unit=" files")
    yield from read_waveforms(lake, paths)


if __name__ == "__main__":
    main()
