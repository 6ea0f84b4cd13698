"""The history answers when and why a row first ended so, and what became of it; equal runs add nothing to it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from validation.lake import Lake
from validation.ledger import LedgerRow, write_ledger_part
from validation.ledger_history import RunOfLedger, record_ledger


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def run(day: int) -> RunOfLedger:
    return RunOfLedger(datetime(2026, 11, day, 2, tzinfo=UTC), f"inputs {day}", f"commit {day}", f"run {day}")


def write(lake: Lake, ends: dict[str, tuple[str, float | None]], words: str = "words") -> None:
    rows = [
        LedgerRow("c", name, f"f:{name}", "accepted_utterances", reason, words, value, 2.0)
        for name, (reason, value) in ends.items()
    ]
    write_ledger_part(lake, "c", "accepted_utterances", rows)


def history(lake: Lake, name: str) -> list[tuple]:
    table = lake.read_table("ledger_history").filter(utterance_id=name).sort("sequence")
    return table.select("sequence", "change", "old_reason", "reason", "value", "old_value").rows()


def files(lake: Lake) -> dict[str, int]:
    return {**lake.sizes("tables/ledger_history"), **lake.sizes("work/ledger_history")}


def test_what_became_of_a_row_is_told_run_by_run(lake):
    write(lake, {"a": ("noisy", 1.0), "b": ("accepted", None)})
    assert record_ledger(lake, "c", run(1)) == 2
    write(lake, {"a": ("very_noisy", 3.0), "b": ("accepted", None), "d": ("clipped", 0.5)})
    assert record_ledger(lake, "c", run(2)) == 2
    write(lake, {"b": ("accepted", None), "d": ("clipped", 0.6)})
    assert record_ledger(lake, "c", run(3)) == 2
    assert history(lake, "a") == [
        (1, "new", None, "noisy", 1.0, None),
        (2, "changed", "noisy", "very_noisy", 3.0, 1.0),
        (3, "gone", "very_noisy", None, None, 3.0),
    ]
    assert history(lake, "b") == [(1, "new", None, "accepted", None, None)]
    assert [row[:4] for row in history(lake, "d")] == [
        (2, "new", None, "clipped"),
        (3, "changed", "clipped", "clipped"),
    ]
    told = lake.read_table("ledger_history").filter(sequence=2, utterance_id="a").row(0, named=True)
    assert (told["run_id"], told["git_commit"], told["inputs"]) == ("run 2", "commit 2", "inputs 2")
    assert told["at"] == datetime(2026, 11, 2, 2, tzinfo=UTC)
    assert (told["outcome"], told["old_outcome"]) == ("quarantined", "rejected")


def test_a_hundred_nights_that_change_nothing_add_nothing(lake):
    write(lake, {"a": ("noisy", 1.0)})
    record_ledger(lake, "c", run(1))
    before = files(lake)
    for _ in range(100):
        assert record_ledger(lake, "c", run(2)) == 0
    assert files(lake) == before


def test_other_words_for_the_same_end_are_no_change(lake):
    write(lake, {"a": ("noisy", 1.0)})
    record_ledger(lake, "c", run(1))
    write(lake, {"a": ("noisy", 1.0)}, words="the corpus lies elsewhere now")
    assert record_ledger(lake, "c", run(2)) == 0
    assert history(lake, "a") == [(1, "new", None, "noisy", 1.0, None)]
    write(lake, {"a": ("clipped", 1.0)})
    assert record_ledger(lake, "c", run(3)) == 1
    assert history(lake, "a")[1][:4] == (2, "changed", "noisy", "clipped")


@pytest.mark.parametrize("lost", ["state", "history"])
def test_a_record_that_was_killed_is_made_anew(lake, monkeypatch, lost):
    write(lake, {"a": ("noisy", 1.0)})
    record_ledger(lake, "c", run(1))
    write(lake, {"a": ("clipped", 1.0)})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if lost == "state":
            patch.setattr(Lake, "write_json", die)
        else:
            patch.setattr("validation.ledger_history._copy_parts", die)
        with pytest.raises(KeyboardInterrupt):
            record_ledger(lake, "c", run(2))
    assert record_ledger(lake, "c", run(3)) == 1
    assert [row[:4] for row in history(lake, "a")] == [
        (1, "new", None, "noisy"),
        (2, "changed", "noisy", "clipped"),
    ]
    assert record_ledger(lake, "c", run(4)) == 0


def test_what_earlier_records_left_behind_does_not_pile_up(lake):
    for number in range(6):
        write(lake, {"a": ("noisy", float(number))})
        record_ledger(lake, "c", run(1 + number))
    # The last copy, the one before (another run may still be comparing with it), and the state.
    assert len(lake.sizes("work/ledger_history")) == 3


def test_a_corpus_without_a_ledger_has_no_history(lake):
    assert record_ledger(lake, "c", run(1)) == 0
    assert lake.read_table("ledger_history").is_empty()


def test_a_ledger_that_was_removed_is_told_row_by_row(lake):
    write(lake, {"a": ("noisy", 1.0)})
    record_ledger(lake, "c", run(1))
    lake.remove_table("ledger", "c--accepted_utterances")
    assert record_ledger(lake, "c", run(2)) == 1
    assert history(lake, "a")[1][1] == "gone"
