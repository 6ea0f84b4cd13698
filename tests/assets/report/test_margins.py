"""Which recordings are shown: those nearest to a limit on either side, by whatever limit that is."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from assets.report.facts import corpus_database
from assets.report.margins import Ranked, best_rejected, worst_accepted
from validation.lake import Lake
from validation.ledger import LedgerRow, write_ledger_part
from validation.schemas import TableName, frame_from_rows, polars_schema
from validation.thresholds import load_thresholds

LIMITS = load_thresholds()
GOOD = {"duration_s": 5.0, "snr_db": 42.0, "level_dbfs": -22.0, "bandwidth_share": 1.0, "channel_correlation": 1.0,
        "bandwidth_hz": 8000.0, "dynamic_range_db": 23.0, "chars_per_second": 11.0, "peak_dbfs": -6.0}  # fmt: skip
MEDIANS: dict[str, float | None] = {**dict.fromkeys(GOOD, None), **GOOD, "dead_channels": 0.0}


def row(table: TableName, **values: Any) -> dict[str, Any]:
    """A row of a table, with a neutral value in every column that is not given."""
    neutral = {pl.String(): "x", pl.Int64(): 0, pl.Int32(): 0}
    kinds = polars_schema(table)
    return {**{name: neutral.get(kind) for name, kind in kinds.items()}, **values}


def write(
    lake: Lake, accepted: dict[str, dict[str, float]], ended: list[LedgerRow], measured: Any = None
) -> None:
    """A corpus of accepted rows with their measures, and rows that ended, with theirs."""
    measures = {**accepted, **(measured or {})}
    ids = [*accepted, *(one.utterance_id for one in ended)]

    def put(table: TableName, rows: list[dict[str, Any]]) -> None:
        with lake.atomic_write(lake.table_path(table, "one")) as stream:
            frame_from_rows(table, rows).write_parquet(stream)

    put(
        "raw_utterances",
        [row("raw_utterances", corpus="one", utterance_id=name, language="en") for name in ids],
    )
    put("audio_22k", [])
    put(
        "accepted_utterances",
        [row("accepted_utterances", utterance_id=name, language="en") for name in accepted],
    )
    put(
        "audio_quality",
        [row("audio_quality", utterance_id=name, **{**GOOD, **values}) for name, values in measures.items()],
    )
    done = [LedgerRow("one", name, "f", "accepted_utterances", "accepted", "") for name in accepted]
    for stage in ("audio_22k", "accepted_utterances"):
        write_ledger_part(lake, "one", stage, [one for one in [*done, *ended] if one.stage == stage])


def worst(lake: Lake) -> list[Ranked]:
    with corpus_database(lake, "one") as connection:
        return worst_accepted(connection, LIMITS, MEDIANS)


def best(lake: Lake) -> list[Ranked]:
    with corpus_database(lake, "one") as connection:
        return best_rejected(connection, LIMITS, MEDIANS)


def ended(
    name: str, reason: Any, value: float | None, limit: float | None, stage: Any = "accepted_utterances"
) -> LedgerRow:
    return LedgerRow("one", name, "f", stage, reason, "why", value, limit)


def test_a_margin_is_a_share_of_the_way_from_the_limit_to_the_median(lake: Lake) -> None:
    write(lake, {"typical": {}, "quiet": {"level_dbfs": -47.0}, "short": {"duration_s": 0.59}}, [])
    found = {one.utterance_id: one for one in worst(lake)}
    # 25 dB over the limit of -72, of which the median lies 50 over.
    assert (found["quiet"].nearest, found["quiet"].margin) == ("min_level_dbfs", pytest.approx(0.5))
    # 0.49 s over the limit of 0.1, of which the median lies 4.9 s over.
    assert (found["short"].nearest, found["short"].margin) == ("min_duration_s", pytest.approx(0.1))
    assert [one.utterance_id for one in worst(lake)][:2] == ["short", "quiet"]


def test_a_limit_that_the_median_lies_at_says_nothing_of_the_others(lake: Lake) -> None:
    write(lake, {"typical": {}}, [])
    assert worst(lake)[0].nearest != "max_dead_channels"
    assert worst(lake)[0].margin is not None and worst(lake)[0].margin > 0.5


def test_one_limit_gives_three_of_ten_as_long_as_others_have_some(lake: Lake) -> None:
    quiet = {f"quiet {n}": {"level_dbfs": -70.0 + n / 10} for n in range(20)}
    short = {f"short {n}": {"duration_s": 1.0 + n / 10} for n in range(2)}
    write(lake, {**quiet, **short}, [])
    found = worst(lake)
    assert len(found) == 10
    assert [one.utterance_id for one in found[:3]] == ["quiet 0", "quiet 1", "quiet 2"]
    assert {"short 0", "short 1"} <= {one.utterance_id for one in found}


def test_those_that_miss_by_the_least_in_the_worst_of_what_they_miss_come_first(lake: Lake) -> None:
    rows = [
        ended("little", "too_quiet", -72.5, -72.0),
        ended("much", "too_quiet", -90.0, -72.0),
        ended("both", "too_quiet", -72.4, -72.0),
    ]
    measured = {
        "little": {"level_dbfs": -72.5},
        "much": {"level_dbfs": -90.0},
        "both": {"level_dbfs": -72.4, "duration_s": 0.01, "snr_db": -30.0},
    }
    write(lake, {"typical": {}}, rows, measured)
    assert [one.utterance_id for one in best(lake)] == ["little", "much", "both"]
    assert best(lake)[0].margin == pytest.approx(-0.01)


def test_what_has_no_numbers_comes_last_and_what_was_set_aside_before_what_does_not_decode(
    lake: Lake,
) -> None:
    rows = [
        ended("broken", "decode_error", None, None, "audio_22k"),
        ended("renamed", "wrong_extension", None, None, "audio_22k"),
        ended("cut", "truncated", 90.0, 100.0, "audio_22k"),
    ]
    write(lake, {"typical": {}}, rows)
    assert [(one.utterance_id, one.margin) for one in best(lake)] == [
        ("cut", pytest.approx(-0.1)), ("renamed", None), ("broken", None),
    ]  # fmt: skip


def test_a_text_that_was_refused_is_compared_by_the_ledgers_numbers(lake: Lake) -> None:
    write(lake, {"typical": {}}, [ended("repeats", "repetitive_text", 0.75, 0.6)], {"repeats": {}})
    (found,) = best(lake)
    assert (found.nearest, found.margin) == ("repetitive_text", pytest.approx(-0.2))


def test_rows_that_ended_before_their_recording_was_looked_for_are_no_recordings(lake: Lake) -> None:
    write(lake, {"typical": {}}, [])
    write_ledger_part(
        lake, "one", "raw_utterances", [ended("typical", "duplicate_id", None, None, "raw_utterances")]
    )
    assert best(lake) == []


def test_without_accepted_rows_the_rejected_ones_are_still_compared(lake: Lake) -> None:
    write(lake, {}, [ended("quiet", "too_quiet", -90.0, -72.0)], {"quiet": {"level_dbfs": -90.0}})
    with corpus_database(lake, "one") as connection:
        assert worst_accepted(connection, LIMITS, {}) == []
        (found,) = best_rejected(connection, LIMITS, {})
    assert found.margin is not None and found.margin < 0


def test_a_limit_from_some_length_on_says_nothing_of_shorter_recordings(lake: Lake) -> None:
    write(lake, {"typical": {}, "short": {"duration_s": 2.0, "snr_db": 3.9}}, [])
    assert all(one.margin is not None and one.margin > 0 for one in worst(lake))
