"""What people look at in Dagster: a real picture, and tables that no corpus' words can break."""

from __future__ import annotations

import base64
import struct

from assets.audio.plots import code_cell, histograms_markdown, quality_cells, reasons_table
from validation.ledger import LedgerRow, write_ledger_part


def test_histograms_are_a_png_inside_markdown(tmp_path, lake, make):
    make.run_all(make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello there")]), lake)
    text = histograms_markdown(quality_cells(lake, ["made"]), "made")
    alternative, _, data = text.partition("](data:image/png;base64,")
    assert alternative == "![measures of made"
    png = base64.b64decode(data.removesuffix(")"))
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG") and width > 800 and height > 400


def test_a_corpus_without_audio_says_so(tmp_path, lake, make):
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "one"}]
    make.run_all(make.jsonl(tmp_path / "c", [{"id": "t", "messages": messages}]), lake)
    assert histograms_markdown(quality_cells(lake, ["made"]), "texts") == "texts: no audio"


def test_reasons_stand_with_counts_and_shares_per_corpus(lake):
    rows = [
        LedgerRow("one", f"u{n}", f"f:{n}", "raw_utterances", "empty_text", "f: <b>`a|b`</b>\nnext")
        for n in range(3)
    ]
    rows += [LedgerRow("one", "u3", "f:3", "raw_utterances", "duplicate_id", "f")]
    write_ledger_part(lake, "one", "raw_utterances", rows)
    write_ledger_part(lake, "two", "raw_utterances", [])
    lines = reasons_table(lake, ["one", "two"]).splitlines()
    assert lines[0] == "| outcome | reason | one | two |"
    assert lines[2:] == [
        "| rejected | duplicate_id | 1 (25.0%) | 0 |",
        "| rejected | empty_text | 3 (75.0%) | 0 |",
    ]


def test_a_corpus_own_words_do_not_end_their_cell():
    assert code_cell("<b>`a|b`</b>\nnext") == "`<b>'a\\|b'</b> next`"
