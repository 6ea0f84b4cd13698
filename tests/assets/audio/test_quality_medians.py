"""Medians of a corpus' measures, told beside the table."""

from __future__ import annotations

from statistics import median

import numpy as np
import polars as pl
import pytest

from assets.audio.quality import _MEDIANS, _medians
from validation.batches import database
from validation.lake import Lake


@pytest.mark.parametrize("count", [0, 1, 2, 5, 1_000, 300_001])
def test_medians_are_those_of_the_values_that_are_there(tmp_path, count):
    values = np.random.default_rng(count).normal(-20.0, 10.0, count)
    columns = {name: [*values, None] for name in _MEDIANS}
    pl.DataFrame(columns, schema=dict.fromkeys(_MEDIANS, pl.Float64)).write_parquet(tmp_path / "t.parquet")
    with database(Lake(str(tmp_path))) as connection:
        found = _medians(connection, f"read_parquet('{tmp_path}/t.parquet')")
    wanted = pytest.approx(median(values), abs=2e-3) if count else None
    assert set(found) == set(_MEDIANS) and all(one == wanted for one in found.values()), found
