"""The last screen counts what was read apart from what the ledger says, and shows what is so now."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from pipelines.summary import corpora_table, reasons_table, registry_lines
from validation.lake import Lake
from validation.ledger import OUTCOME_OF, LedgerRow, write_ledger_part
from validation.schemas import frame_from_rows

OLD, PRESENT = "0" * 64, "1" * 64


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three rows were read: one was accepted, one was not, and of one nothing is known."""
    lake = Lake(str(tmp_path))
    lake.write_manifest("raw_utterances", "one", "0" * 64, {"rows": 3, "read": 3})
    accepted = LedgerRow("one", "a", "f:1", "accepted_utterances", "accepted", "")
    write_ledger_part(lake, "one", "accepted_utterances", [accepted])
    write_ledger_part(
        lake, "one", "raw_utterances", [LedgerRow("one", "b", "f:2", "raw_utterances", "empty_text", "f:2")]
    )
    utterance = {
        "corpus": "one",
        "utterance_id": "a",
        "split": "train",
        "tasks": ["asr"],
        "speaker": "x",
        "language": "en",
        "text": "hello",
        "licence": "CC0-1.0",
        "source": "f:1",
        "source_digest": "5" * 64,
        "conversation_id": None,
        "marker": None,
        "messages": None,
        "audio_path": "audio_22k/one/a.wav",
        "audio_digest": "a" * 64,
        "duration_s": 3.0,
    }
    lake.write_table("accepted_utterances", "one", frame_from_rows("accepted_utterances", [utterance]))
    tokens = [
        {
            "corpus": "one",
            "audio_digest": "a" * 64,
            "tokenizer_digest": digest,
            "augmentation_digest": "",
            "token_ids": ids,
            "duration_s": 3.0,
        }
        for digest, ids in ((OLD, [1, 2, 3, 4, 5, 6, 7]), (PRESENT, [1, 2]), ("2" * 64, [1] * 9))
    ]
    lake.write_table("audio_tokens", "one", frame_from_rows("audio_tokens", tokens))
    return lake


def cells(table: Table) -> dict[str, str]:
    """The first row by column."""
    return {str(column.header): str(next(iter(column.cells))) for column in table.columns}


def test_rows_that_were_lost_show(lake: Lake) -> None:
    row = cells(corpora_table(lake, ["one"], PRESENT))
    assert "3 (does not balance)" in row["read"]
    assert (row["accepted"], row["rejected"], row["quarantined"], row["errored"]) == ("1", "1", "0", "0")


def test_nothing_is_said_of_rows_that_balance(lake: Lake) -> None:
    lake.write_manifest("raw_utterances", "one", "0" * 64, {"rows": 2, "read": 2})
    assert cells(corpora_table(lake, ["one"], PRESENT))["read"] == "2"


def test_tokens_are_the_present_tokenizers(lake: Lake) -> None:
    assert cells(corpora_table(lake, ["one"], PRESENT))["tokens"] == "2"
    assert cells(corpora_table(lake, ["one"], OLD))["tokens"] == "7"


RESULT = {"version": "2", "aliases": ["candidate", "champion"], "gate_reasons": ["wer 0.9 is above 0.5"]}


@pytest.mark.parametrize(
    ("aliases", "shown"),
    [
        ({"candidate": "2", "champion": "2"}, ["version 2: candidate and champion"]),
        (
            {"candidate": "2", "champion": "1"},
            ["version 2: candidate", "wer 0.9 is above 0.5", "champion is version 1"],
        ),
        ({}, ["version 2: no alias", "wer 0.9 is above 0.5"]),
    ],
)
def test_aliases_are_those_of_the_registry_now(aliases: dict[str, str], shown: list[str]) -> None:
    console = Console(record=True, width=120)
    for line in registry_lines(RESULT, aliases):
        console.print(line)
    said = [
        line.strip().removeprefix("Registry  vita-audio-mctp ") for line in console.export_text().splitlines()
    ]
    assert said == shown


def test_reasons_are_counted_where_they_lie(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a ledger of ten million rows does not fit into memory")

    monkeypatch.setattr(Lake, "read_table", refuse)
    table = reasons_table(lake, ["one"])
    cells = [list(column.cells) for column in table.columns]
    assert cells == [["one"], [OUTCOME_OF["empty_text"]], ["empty_text"], ["1"], ["f:2"]]
