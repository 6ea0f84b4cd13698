"""Sorted files become one sorted stream, whatever they share and however they overlap."""

from __future__ import annotations

import random

import polars as pl
import pytest

from assets.audio.merging import Sorted, merged
from validation.lake import Lake

ALL = [f"{number:04d}" for number in range(5_000)]


def write(lake: Lake, path: str, keys: list[str], recipe: int = 1) -> None:
    with lake.atomic_write(path) as stream:
        pl.DataFrame({"key": sorted(keys), "recipe": recipe}).write_parquet(stream, row_group_size=700)


def found(lake: Lake, paths: list[str], wanted: list[str]) -> pl.DataFrame:
    batches = iter([pl.DataFrame({"key": wanted[start : start + 900]}) for start in range(0, 5_000, 900)])
    frames = merged(lake, paths, "key", pl.col("recipe") == 1, Sorted(batches, "key"))
    return pl.concat([pl.DataFrame(schema={"key": pl.String, "recipe": pl.Int32}), *frames])


@pytest.mark.parametrize("seed", range(5))
def test_each_wanted_row_comes_once_and_in_order(tmp_path, seed):
    lake, rng = Lake(str(tmp_path)), random.Random(seed)
    paths = []
    for part in range(6):  # of one pass: each begins after the one before
        paths.append(f"part{part}.parquet")
        write(lake, paths[-1], ALL[part * 800 : (part + 1) * 800])
    for more in range(3):
        paths.append(f"more{more}.parquet")
        write(lake, paths[-1], rng.sample(ALL, 1_000))
    write(lake, "empty.parquet", [])
    write(lake, "old.parquet", ALL, recipe=0)
    rng.shuffle(paths)
    wanted = sorted(rng.sample(ALL[:4_700], 3_000))
    assert found(lake, [*paths, "empty.parquet", "old.parquet"], wanted)["key"].to_list() == wanted


def test_without_files_or_wishes_there_is_nothing(tmp_path):
    lake = Lake(str(tmp_path))
    assert found(lake, [], ALL).is_empty()
    write(lake, "a.parquet", ALL)
    assert found(lake, ["a.parquet"], []).is_empty()
