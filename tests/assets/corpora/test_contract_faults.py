"""A row that a reader makes badly ends in the ledger with column, check and value; the others go on."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from assets.corpora.ingest import ingest
from assets.corpora.readers import READERS
from validation.ledger import read_ledger

CHANGES = {
    "no id": ({"utterance_id": ""}, r"utterance_id: str_length\(1, None\): value $", None),
    "negative marker": ({"marker": -3}, r"marker: greater_than_or_equal_to\(0\): value -3$", -3.0),
    "a number beyond its type": ({"marker": 2**40}, r"marker: type Int32: value 1099511627776$", 2.0**40),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_row_that_breaks_the_contract_is_errored_and_stops_nothing(tmp_path, lake, make, monkeypatch, case):
    entry = make.ljspeech(tmp_path / "c", [("a", "one"), ("b", "two"), ("d", "three")])
    reader = READERS["ljspeech"]
    changes, said, value = CHANGES[case]

    def read(root, options):
        for row in reader.read(root, options):
            yield replace(row, **changes) if row.source == "metadata.csv:2" else row

    monkeypatch.setitem(READERS, "ljspeech", replace(reader, read=read))
    outcome = ingest(entry, lake)
    assert lake.read_table("raw_utterances", "made")["utterance_id"].to_list() == ["a", "d"]
    (row,) = read_ledger(lake, "made").to_dicts()
    assert (row["reason"], row["outcome"], row["source"]) == ("breaks_contract", "errored", "metadata.csv:2")
    assert row["value"] == value
    assert row["detail"].startswith("metadata.csv:2: breaks the contract of raw_utterances: ")
    assert re.search(said, row["detail"]), row["detail"]
    assert (outcome.summary["read"], outcome.summary["ended_here"]) == (3, 1)
    assert lake.read_table("contract_failures").is_empty()
