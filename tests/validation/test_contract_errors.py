"""Rows that break a contract are rows themselves: all are counted, the first ones kept, and gone once it is mended."""

from __future__ import annotations

import polars as pl
import pytest

from validation.batches import write_batches
from validation.contract_errors import MOST_FAILURES
from validation.lake import Lake
from validation.ledger import LedgerRow, ledger_frame
from validation.schemas import ContractError


def frame(rows: range, bad: set[int]) -> pl.DataFrame:
    made = ledger_frame(
        LedgerRow("c", f"u{number}", f"f:{number}", "audio_22k", "truncated", "words") for number in rows
    )
    wrong = [f"u{number}" for number in bad]
    is_bad = pl.col("utterance_id").is_in(wrong)
    return made.with_columns(reason=pl.when(is_bad).then(pl.lit("because")).otherwise("reason"))


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_each_failing_row_is_a_row_with_column_check_and_value(lake):
    with pytest.raises(ContractError, match=r"all 2 failures: voxline sql .*contract_failures.*c--audio_22k"):
        lake.write_table("ledger", "c--audio_22k", frame(range(5), {1, 3}).with_columns(source=pl.lit("f")))
    found = lake.read_table("contract_failures").to_dicts()
    assert [(row["row_id"], row["position"], row["column_name"], row["value"]) for row in found] == [
        ("u1", 1, "reason", "because"),
        ("u3", 3, "reason", "because"),
    ]
    assert {(row["table_name"], row["partition"]) for row in found} == {("ledger", "c--audio_22k")}
    assert found[0]["check_name"].startswith("isin")


def test_failures_of_all_batches_are_counted_and_the_first_kept(lake):
    batches = (frame(range(start, start + 10_000), {start, start + 9_999}) for start in (0, 10_000, 20_000))
    with pytest.raises(
        ContractError, match=r"reason: isin.*: 6 rows, first row 'u0'.*all 6 failures"
    ) as caught:
        write_batches(lake, "ledger", "c--audio_22k", batches)
    assert caught.value.total == 6
    positions = lake.read_table("contract_failures")["position"].to_list()
    assert positions == [0, 9_999, 10_000, 19_999, 20_000, 29_999]
    assert not lake.has_table("ledger", "c--audio_22k")


def test_a_column_that_is_wrong_throughout_is_told_once_and_kept_up_to_a_limit(lake):
    batches = (
        frame(range(start, start + 10_000), set(range(start, start + 10_000))) for start in (0, 10_000)
    )
    said = rf"20000 rows, .*the first {MOST_FAILURES} of 20000 failures"
    with pytest.raises(ContractError, match=said):
        write_batches(lake, "ledger", "c--audio_22k", batches)
    assert lake.read_table("contract_failures").height == MOST_FAILURES


def test_an_unknown_column_has_no_row(lake):
    with pytest.raises(ContractError, match="colour"):
        lake.write_table("ledger", "c--audio_22k", frame(range(2), set()).with_columns(colour=1))
    (row,) = lake.read_table("contract_failures").to_dicts()
    assert (row["row_id"], row["position"], row["value"]) == (None, None, "colour")


def test_a_table_that_is_whole_again_has_no_failures(lake):
    for bad in ({1}, set()):
        try:
            lake.write_table("ledger", "c--audio_22k", frame(range(3), bad))
        except ContractError:
            assert bad
    assert lake.read_table("contract_failures").is_empty()
    with pytest.raises(ContractError):
        lake.write_table("ledger", "c--audio_22k", frame(range(3), {2}))
    write_batches(lake, "ledger", "c--audio_22k", [frame(range(3), set())])
    assert lake.read_table("contract_failures").is_empty()


def test_the_failures_of_another_table_are_kept_once(lake):
    def batches():
        yield frame(range(3), set())
        lake.write_table("ledger", "other--audio_22k", frame(range(3), {2}))

    with pytest.raises(ContractError, match="other--audio_22k"):
        write_batches(lake, "ledger", "c--audio_22k", batches())
    assert set(lake.read_table("contract_failures")["partition"]) == {"other--audio_22k"}
