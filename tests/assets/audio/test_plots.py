"""What people look at: a real picture, and a table that a transcript cannot break."""

from __future__ import annotations

import base64
import struct

from assets.audio.plots import quality_histograms, reasons_table
from validation.ledger import LedgerRow, write_ledger_part
from validation.schemas import empty_frame


def test_histograms_are_a_png_inside_markdown(tmp_path, lake, make):
    make.run_all(make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello there")]), lake)
    text = quality_histograms(lake.read_table("audio_quality", "made"), "made")
    alternative, _, data = text.partition("](data:image/png;base64,")
    assert alternative == "![measures of made"
    png = base64.b64decode(data.removesuffix(")"))
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG") and width > 800 and height > 400


def test_a_corpus_without_audio_says_so():
    assert quality_histograms(empty_frame("audio_quality"), "texts") == "texts: no audio"


def test_reasons_stand_with_counts_per_corpus_and_one_example(lake):
    rows = [
        LedgerRow("one", f"u{n}", f"f:{n}", "raw_utterances", "empty_text", "f: <b>`a|b`</b>\nnext")
        for n in range(3)
    ]
    write_ledger_part(lake, "one", "raw_utterances", rows)
    write_ledger_part(lake, "two", "raw_utterances", [])
    lines = reasons_table(lake, ["one", "two"]).splitlines()
    assert lines[0] == "| outcome | reason | one | two | example |"
    assert lines[2:] == ["| rejected | empty_text | 3 | 0 | `f: <b>'a\\|b'</b> next` |"]
