"""The states of a corpus: what a state is compared with, and that only a person makes a drift pass."""

from __future__ import annotations

import pytest

from assets.report.profiles import accept_last, append_record, compare, read_records
from validation.drift import Amount, DriftLimits, Profile
from validation.errors import UserError
from validation.lake import Lake

LIMITS = DriftLimits()


def profile(hours: float) -> Profile:
    amount = Amount(rows=100, hours=hours)
    return Profile(
        read=amount, outcomes={"accepted": amount}, splits={}, languages={}, reasons={}, measures={}, voices=0
    )


def states(lake: Lake, *hours: float) -> list[tuple[int, int | None, bool]]:
    """Append states; gives number, the state compared with, and whether it passed, of each."""
    for hour in hours:
        records = read_records(lake, "one")
        append_record(lake, "one", f"inputs {len(records)}", profile(hour), records, LIMITS)
    records = read_records(lake, "one")
    found = [compare(records[:end], LIMITS) for end in range(1, len(records) + 1)]
    return [(one.now.number, one.now.compared_with, one.passed) for one in found if one is not None]


def test_the_first_state_passes_and_is_compared_with_nothing(lake: Lake) -> None:
    assert compare([], LIMITS) is None
    assert states(lake, 10.0) == [(1, None, True)]


def test_a_state_is_compared_with_the_last_one_that_passed(lake: Lake) -> None:
    assert states(lake, 10.0, 9.5, 5.0, 5.1, 9.0) == [
        (1, None, True), (2, 1, True), (3, 2, False), (4, 2, False), (5, 2, True),
    ]  # fmt: skip


def test_a_drift_stays_one_until_a_person_accepts_it(lake: Lake) -> None:
    assert states(lake, 10.0, 5.0)[-1] == (2, 1, False)
    assert states(lake)[-1] == (2, 1, False)
    accepted = accept_last(lake, "one").accepted
    assert accepted is not None and accepted.by
    assert accept_last(lake, "one").accepted == accepted
    assert states(lake)[-1] == (2, 1, True)
    assert states(lake, 4.9)[-1] == (3, 2, True)


def test_limits_that_were_widened_let_the_same_state_pass(lake: Lake) -> None:
    states(lake, 10.0, 5.0)
    found = compare(read_records(lake, "one"), DriftLimits(max_hours_loss=0.6))
    assert found is not None and found.passed


def test_when_a_state_was_seen_is_in_none_of_its_other_figures(lake: Lake) -> None:
    states(lake, 10.0)
    (record,) = read_records(lake, "one")
    assert record.at.endswith("+00:00")
    assert record.at not in str(record.model_dump(exclude={"at"}))


def test_a_file_that_is_no_profile_is_named(lake: Lake) -> None:
    states(lake, 10.0)
    lake.write_json("profiles/one/000002.json", {"number": 2})
    with pytest.raises(UserError, match=r"profiles/one/000002\.json is no profile"):
        read_records(lake, "one")


def test_a_corpus_without_a_state_cannot_be_accepted(lake: Lake) -> None:
    with pytest.raises(UserError, match="'two' has no profile"):
        accept_last(lake, "two")
