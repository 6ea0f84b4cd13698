"""SQL over the lake: a view per table, empty ones included."""

from __future__ import annotations

import io
import json
from pathlib import Path

import duckdb
import polars as pl
import pytest
from rich.console import Console

from pipelines.sql import as_json, as_table, query
from validation.batches import database, parquet
from validation.lake import Lake
from validation.schemas import frame_from_rows
from validation.table_names import known_tables


def ledger_row(corpus: str, utterance_id: str, outcome: str) -> dict[str, object]:
    return {
        "corpus": corpus,
        "utterance_id": utterance_id,
        "source": "metadata.csv:1",
        "stage": "accepted_utterances",
        "outcome": outcome,
        "reason": "accepted",
        "value": None,
        "limit": None,
        "detail": "él dijo 'sí'",
    }


def test_every_table_is_a_view_even_before_it_is_written(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "a lake's root"))
    for name in known_tables():
        assert query(lake, f"SELECT count(*) AS n FROM {name}")["n"].to_list() == [0]


def test_a_view_holds_all_partitions(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "a lake's root"))
    lake.write_table("ledger", "one", frame_from_rows("ledger", [ledger_row("one", "u", "accepted")]))
    lake.write_table("ledger", "two", frame_from_rows("ledger", [ledger_row("two", "v", "rejected")]))
    rows = json.loads(as_json(query(lake, "SELECT corpus, outcome, detail FROM ledger ORDER BY corpus")))
    assert rows == [
        {"corpus": "one", "outcome": "accepted", "detail": "él dijo 'sí'"},
        {"corpus": "two", "outcome": "rejected", "detail": "él dijo 'sí'"},
    ]


def test_a_wrong_statement_is_duckdbs_own_error(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error, match="no_such_table"):
        query(Lake(str(tmp_path)), "SELECT * FROM no_such_table")


def test_a_transcript_with_brackets_is_shown_as_it_is() -> None:
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(as_table(pl.DataFrame({"[bold]": ["[laughter] hello", "[/laughter]"]})))
    shown = console.export_text()
    for words in ("[bold]", "[laughter] hello", "[/laughter]"):
        assert words in shown


def test_columns_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    frame = query(Lake(str(tmp_path)), "SELECT 1 AS a, 2 AS a_1, 3 AS a, 4 AS a")
    assert frame.to_dicts() == [{"a": 1, "a_1": 2, "a_2": 3, "a_3": 4}]


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    frame = query(
        Lake(str(tmp_path)),
        "SELECT 'nan'::DOUBLE AS n, ['inf'::DOUBLE, 1.5] AS l, {'x': '-inf'::FLOAT} AS s, 2.5::DOUBLE AS d",
    )

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    rows = json.loads(as_json(frame), parse_constant=refuse)
    assert rows == [{"n": None, "l": [None, 1.5], "s": {"x": None}, "d": 2.5}]


@pytest.mark.parametrize("name", ["la?e", "la*e", "la[k]e", "la[k"])
def test_a_lake_is_read_itself_where_its_name_looks_like_a_pattern(tmp_path: Path, name: str) -> None:
    for folder, corpus in (("lake", "another"), (name, "own")):
        lake = Lake(str(tmp_path / folder))
        lake.write_table("ledger", "part", frame_from_rows("ledger", [ledger_row(corpus, "a", "accepted")]))
    lake = Lake(str(tmp_path / name))
    assert query(lake, "SELECT corpus FROM ledger")["corpus"].to_list() == ["own"]
    with database(lake) as connection:
        files = parquet(lake, [lake.table_path("ledger", "part")])
        assert connection.execute(f"SELECT corpus FROM {files}").fetchall() == [("own",)]
