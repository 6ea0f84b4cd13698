"""Counting by cells gives the bins and the quantiles that the values themselves give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from validation.batches import database
from validation.histograms import QUANTILES, Cells, count_cells
from validation.lake import Lake
from validation.scales import SCALE_OF, SCALES


def counted(tmp_path: Path, frame: pl.DataFrame) -> Cells:
    frame.write_parquet(tmp_path / "rows.parquet")
    measures = [column for column in frame.columns if column != "part"]
    with database(Lake(str(tmp_path / "lake"))) as connection:
        return count_cells(connection, f"SELECT * FROM '{tmp_path / 'rows.parquet'}'", measures)


def test_bins_and_quantiles_are_those_of_the_values(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(30, 8, 5_001)
    scale = SCALE_OF["snr_db"]
    found = counted(tmp_path, pl.DataFrame({"part": "all", "snr_db": values})).distribution(scale)
    edges = np.linspace(scale.low, scale.high, scale.bins + 1)
    assert found.rows == 5_001
    assert list(found.bins) == np.histogram(values, edges)[0].tolist()
    exact = np.quantile(values, QUANTILES, method="lower")
    cell = (scale.high - scale.low) / scale.bins / 50
    assert np.abs(np.array(found.quantiles) - exact).max() <= cell


def test_a_logarithmic_axis_is_counted_likewise(tmp_path: Path) -> None:
    values = np.exp(np.random.default_rng(3).normal(1.0, 1.0, 3_000))
    scale = SCALE_OF["duration_s"]
    found = counted(tmp_path, pl.DataFrame({"part": "all", "duration_s": values})).distribution(scale)
    edges = np.geomspace(scale.low, scale.high, scale.bins + 1)
    assert list(found.bins) == np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()
    assert found.median == pytest.approx(np.median(values), rel=0.01)


def test_values_beyond_the_axis_stand_in_its_ends_and_keep_their_size_in_quantiles(tmp_path: Path) -> None:
    scale = SCALE_OF["level_dbfs"]
    frame = pl.DataFrame({"part": "all", "level_dbfs": [-120.0, -100.0, -100.0, 3.0]})
    found = counted(tmp_path, frame).distribution(scale)
    assert (found.bins[0], found.bins[-1], sum(found.bins)) == (3, 1, 4)
    assert found.quantiles[:3] == (-120.0, -120.0, -100.0)


def test_equal_values_have_no_range_and_are_told_exactly(tmp_path: Path) -> None:
    found = counted(tmp_path, pl.DataFrame({"part": "all", "bandwidth_hz": [7_931.25] * 9}))
    assert set(found.distribution(SCALE_OF["bandwidth_hz"]).quantiles) == {7_931.25}


def test_parts_are_counted_apart_and_together_and_what_is_not_measured_not_at_all(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"part": ["a", "a", "b", "b"], "snr_db": [10.0, None, 30.0, float("nan")], "mos": [None] * 4},
        schema={"part": pl.String, "snr_db": pl.Float64, "mos": pl.Float64},
    )
    cells = counted(tmp_path, frame)
    scale = SCALE_OF["snr_db"]
    assert [cells.distribution(scale, parts).rows for parts in (["a"], ["b"], None)] == [1, 1, 2]
    missing = cells.distribution(SCALE_OF["mos"])
    assert (missing.rows, missing.quantiles, missing.median, sum(missing.bins)) == (0, (), None, 0)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.column)
def test_positions_and_values_are_each_others_inverse(scale) -> None:
    for position in (0.0, 0.25, 1.0):
        assert scale.position(scale.value(position)) == pytest.approx(position, abs=1e-9)
    assert (scale.value(0.0), scale.value(1.0)) == pytest.approx((scale.low, scale.high))
