"""SQL over the lake: a view per table, empty ones included."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from pipelines.sql import as_json, query
from validation.lake import Lake, known_tables
from validation.schemas import frame_from_rows


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
