"""The ledger: what was read equals what ended, and a row that is lost or told twice is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.lake import Lake
from validation.ledger import (
    LEDGER_STAGES,
    OUTCOME_OF,
    REASONS,
    LedgerRow,
    balance,
    has_ended_with,
    ledger_counts,
    ledger_frame,
    read_ledger,
    write_ledger_part,
)


def row(number: int, stage="raw_utterances", reason="empty_text", corpus="c") -> LedgerRow:
    return LedgerRow(corpus, f"u{number}", f"f:{number}", stage, reason, "words", 1.0, 2.0)


def write(lake: Lake, read: int, rows: list[LedgerRow]) -> None:
    lake.write_manifest("raw_utterances", "c", "inputs", {"read": read, "rows": 0})
    for stage in LEDGER_STAGES:
        write_ledger_part(lake, "c", stage, [one for one in rows if one.stage == stage])


@settings(max_examples=25, deadline=None)
@given(ends=st.lists(st.tuples(st.sampled_from(LEDGER_STAGES), st.sampled_from(REASONS)), max_size=12))
def test_the_balance_holds_just_when_every_row_read_ended_once(tmp_path_factory, ends):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    rows = [row(number, stage, reason) for number, (stage, reason) in enumerate(ends)]
    write(lake, len(rows), rows)
    made = balance(lake, "c")
    assert made.holds
    assert made.accepted == sum(OUTCOME_OF[reason] == "accepted" for _, reason in ends)
    write(lake, len(rows) + 1, rows)
    assert not balance(lake, "c").holds


def test_a_row_told_twice_breaks_the_balance_even_if_the_sum_is_right(tmp_path):
    lake = Lake(str(tmp_path))
    write(lake, 2, [row(0), row(0, stage="audio_22k", reason="truncated")])
    made = balance(lake, "c")
    assert (made.duplicates, made.holds) == (1, False)


def test_two_rows_of_one_id_at_two_places_are_two_rows(tmp_path):
    lake = Lake(str(tmp_path))
    second = LedgerRow("c", "u0", "f:9", "raw_utterances", "duplicate_id", "words")
    write(lake, 2, [row(0, "accepted_utterances", "accepted"), second])
    assert balance(lake, "c").holds


def test_a_corpus_that_was_never_read_has_no_balance(tmp_path):
    with pytest.raises(ValueError, match="'c' has not been read"):
        balance(Lake(str(tmp_path)), "c")


def test_corpora_with_alike_names_are_kept_apart(tmp_path):
    lake = Lake(str(tmp_path))
    write_ledger_part(lake, "a", "raw_utterances", [row(1, corpus="a")])
    write_ledger_part(lake, "a_b", "raw_utterances", [row(2, corpus="a_b"), row(3, corpus="a_b")])
    assert read_ledger(lake, "a")["utterance_id"].to_list() == ["u1"]
    assert read_ledger(lake, "none").is_empty()


def test_the_outcome_follows_from_the_reason():
    frame = ledger_frame([row(0, reason="truncated"), row(1, reason="clipped"), row(2, reason="clipped")])
    assert frame["outcome"].to_list() == ["quarantined", "rejected", "rejected"]


def test_reasons_are_counted_over_the_parts_with_an_example_of_each(tmp_path):
    lake = Lake(str(tmp_path))
    assert ledger_counts(lake, "c").is_empty()
    ends = [row(0, "audio_22k", "truncated"), row(1, "accepted_utterances", "clipped")]
    write(lake, 3, [*ends, row(2, "raw_utterances", "empty_text"), row(3, "accepted_utterances", "clipped")])
    assert ledger_counts(lake, "c").rows() == [
        ("rejected", "clipped", 2, "words"),
        ("rejected", "empty_text", 1, "words"),
        ("quarantined", "truncated", 1, "words"),
    ]


def test_a_part_of_many_rows_is_written_in_batches_in_their_order(tmp_path):
    lake = Lake(str(tmp_path))
    write_ledger_part(lake, "c", "audio_22k", (row(n, "audio_22k", "truncated") for n in range(20_000)))
    assert read_ledger(lake, "c")["utterance_id"].to_list() == [f"u{n}" for n in range(20_000)]
    assert has_ended_with(lake, "c", "audio_22k", ["truncated"])
    assert not has_ended_with(lake, "c", "audio_22k", ["clipped"])
