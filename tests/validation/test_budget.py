"""A corpus that loses more than its budget is stopped, with what, how much and the limit; a few rows never do."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from validation.budget import Budget, overruns
from validation.lake import Lake
from validation.ledger import LedgerRow, write_ledger_part


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def write(lake: Lake, **rows: int) -> None:
    """A ledger with so many rows of each reason."""
    ends = [reason for reason, count in rows.items() for _ in range(count)]
    lake.write_manifest("raw_utterances", "c", "inputs", {"read": len(ends), "rows": 0})
    named = (
        LedgerRow("c", f"u{number}", f"f:{number}", "accepted_utterances", reason, f"row {number}")
        for number, reason in enumerate(ends)
    )
    write_ledger_part(lake, "c", "accepted_utterances", named)


def test_shares_are_of_the_rows_read_and_the_limit_itself_is_allowed(lake):
    write(lake, accepted=60, truncated=20, clipped=20)
    assert (
        overruns(lake, "c", Budget(rejected=0.2, quarantined=0.2, reasons={"clipped": 0.2}, lost=0.4)) == []
    )
    found = overruns(lake, "c", Budget(rejected=0.1, quarantined=0.2, reasons={"clipped": 0.15}, lost=0.3))
    assert [(one.what, one.rows, one.read, one.limit) for one in found] == [
        ("lost", 40, 100, 0.3),
        ("rejected", 20, 100, 0.1),
        ("clipped", 20, 100, 0.15),
    ]
    assert found[2].told == "corpus 'c': clipped: 20 of 100 rows, 20.00%, are above the budget of 15.00%"


def test_what_may_always_be_lost_does_not_trip_a_tiny_corpus(lake):
    write(lake, accepted=3, truncated=1, missing_audio=1)
    strict = {"errored": 0.0, "quarantined": 0.0, "lost": 0.0}
    assert overruns(lake, "c", Budget(**strict)) == []
    assert [one.what for one in overruns(lake, "c", Budget(**strict, at_least=1))] == ["lost"]
    assert len(overruns(lake, "c", Budget(**strict, at_least=0))) == 3


@pytest.mark.parametrize("rows", [1, 3, 5_000])
def test_a_corpus_of_which_nothing_is_left_always_fails(lake, rows):
    write(lake, clipped=rows)
    assert [one.what for one in overruns(lake, "c", Budget())] == ["lost"]
    assert overruns(lake, "c", Budget(lost=1.0)) == []


def test_a_disk_that_is_mounted_empty_stops_a_corpus_by_default(lake):
    write(lake, accepted=40, missing_audio=60)
    assert [one.what for one in overruns(lake, "c", Budget())] == ["errored"]
    write(lake, accepted=80, missing_audio=20)
    assert overruns(lake, "c", Budget()) == []


@pytest.mark.parametrize(
    "values", [{"lost": 1.5}, {"reasons": {"loud": 0.1}}, {"reasons": {"clipped": -0.1}}, {"erored": 0.1}]
)
def test_a_budget_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValidationError):
        Budget(**values)
