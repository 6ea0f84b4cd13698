"""What is disturbed: the data steps, or a speaker's being forgotten between two runs of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl
from robustness.data_steps import Step, steps

from pipelines.forget_cli import forget
from pipelines.settings import Settings, write_settings
from training_jobs.plan import RECORDINGS_FILE, SAMPLES_FILE, SAMPLES_SCHEMA
from validation.lake import Lake
from validation.schemas import frame_from_rows

Course = Literal["data steps", "forgetting"]
FORGOTTEN = "zebediah"
_WORKERS = 2


def steps_of(course: Course, corpora: Path, home: Path) -> list[Step]:
    """The steps over a corpora file, in a home whose lake is ``lake/``."""
    lake = Lake(str(home / "lake"))
    run = partial(steps, corpora, lake, _WORKERS)
    if course == "data steps":
        return run()
    before = [*run(), Step("tokens", lambda: _tokens(lake)), Step("packs", lambda: _packs(home, lake))]
    forgets = Step("forget", lambda: _forget(home), since=len(before))
    return [*before, forgets, *run(since=len(before) + 1)]


def _forget(home: Path) -> None:
    """As ``voxline forget --speaker … --apply`` does."""
    forget(speaker=FORGOTTEN, apply=True, by="tester", why="asked by letter", home=home)


def _tokens(lake: Lake) -> None:
    for corpus in _corpora(lake):
        digests = sorted(set(lake.read_table("accepted_utterances", corpus)["audio_digest"].drop_nulls()))
        of = {"corpus": corpus, "tokenizer_digest": "c" * 64, "augmentation_digest": "", "duration_s": 1.0}
        rows = [{**of, "audio_digest": digest, "token_ids": [1, 2]} for digest in digests]
        lake.write_table("audio_tokens", corpus, frame_from_rows("audio_tokens", rows))


def _packs(home: Path, lake: Lake) -> None:
    """What a training leaves: a pack, a tokenizer and an evaluation that all have rows of everybody."""
    write_settings(home, Settings())
    rows = lake.read_table("training_rows").sort("corpus", "row_id")
    samples = rows.with_row_index("row").with_columns(tokens=pl.lit(9))
    profile = home / "training/tiny"
    packed = {name: pl.col(name).cast(kind) for name, kind in SAMPLES_SCHEMA.items()}
    heard = (
        rows.select(audio_digest=pl.col("audio_digests").list.explode())
        .drop_nulls()
        .unique()
        .sort("audio_digest")
    )
    whole: dict[str, Callable[[Path], object]] = {
        f"stage_packs/p/{SAMPLES_FILE}": samples.select(**packed).write_parquet,
        "stage_packs/p/input_ids.npy": lambda path: path.write_text(FORGOTTEN),
        "stage_packs/p/plan.json": lambda path: path.write_text(FORGOTTEN),
        "stage_packs/p/result.json": lambda path: path.write_text("{}"),
        f"speech_tokenizer/t/{RECORDINGS_FILE}": heard.write_parquet,
        "speech_tokenizer/t/result.json": lambda path: path.write_text("{}"),
        "evaluation_report/e/rows.parquet": rows.select("corpus", "row_id", "messages").write_parquet,
        "evaluation_report/e/result.json": lambda path: path.write_text("{}"),
    }
    for name, write in whole.items():
        (profile / name).parent.mkdir(parents=True, exist_ok=True)
        write(profile / name)


def _corpora(lake: Lake) -> list[str]:
    paths = lake.list_files("tables/accepted_utterances")
    return [path.rpartition("/")[2].removesuffix(".parquet") for path in paths]
