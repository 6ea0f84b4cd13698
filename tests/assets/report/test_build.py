"""The page of a corpus: whole, valid, harmless whatever the corpus says, the same for the same tables."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from assets.report import build
from assets.report.build import INDEX, read_drawings, report_corpus, report_path, write_index
from assets.report.profiles import accept_last, read_records
from validation.lake import Lake, MissingTableError

_VOID = {"meta", "img", "br", "input", "link", "hr"}
HOSTILE = "<script>alert(1)</script>](javascript:alert(1)) \" onload='x' `b`"


class Checked(HTMLParser):
    """Every tag is closed in its turn, and ids are told once."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.words += data


def page(lake: Lake, path: str) -> Checked:
    text = Path(lake.root, path).read_text(encoding="utf-8")
    checked = Checked(text)
    assert checked.open == [] and len(set(checked.ids)) == len(checked.ids)
    for tag, attributes in checked.tags:
        assert tag not in ("script", "iframe", "object", "link", "base", "form")
        assert not [name for name in attributes if name.startswith("on")], attributes
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert re.match(r"(data:(audio/mpeg|image/png);base64,|#|[a-z0-9_]+\.html$|$)", value), value[:80]
    return checked


@pytest.fixture
def corpus(tmp_path: Path, lake: Lake, make: Any) -> Any:
    """Four rows in the layout of LJSpeech, whose texts and speaker are hostile; one is too quiet, one is cut short."""
    rows = [("a", HOSTILE), ("b", "hello\u0007 \u202egnp.exe"), ("quiet", "so quiet"), ("cut", "cut short")]
    entry = make.ljspeech(tmp_path / "c", rows)
    sf.write(tmp_path / "c" / "wavs" / "quiet.wav", 0.0004 * make.speech_like(1.0, 16_000), 16_000)
    cut = tmp_path / "c" / "wavs" / "cut.wav"
    cut.write_bytes(cut.read_bytes()[:20_000])
    entry = make.entry("ljspeech", tmp_path / "c", options={"speaker": HOSTILE}, licence=HOSTILE)
    make.run_all(entry, lake)
    return entry


def test_a_hostile_corpus_harms_nothing_and_is_shown(lake: Lake, corpus: Any) -> None:
    report_corpus(corpus, lake)
    write_index(lake, [corpus])
    found = page(lake, report_path("made"))
    assert "<script>alert(1)</script>](javascript:alert(1))" in found.words
    assert "⟨U+202E⟩" in found.words and "\u202e" not in found.words
    assert "⟨U+0007⟩" in found.words and "\u0007" not in found.words
    policy = next(a["content"] for tag, a in found.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")
    page(lake, INDEX)


def test_what_dagster_keeps_names_no_row_and_no_speaker(lake: Lake, corpus: Any) -> None:
    report_corpus(corpus, lake)
    told = read_drawings(lake, "made")
    assert set(told) == {"histograms", "reasons", "before_after", "languages", "drift"}
    assert told["histograms"].startswith("![measures of made](data:image/png;base64,")
    assert "| rejected | too_quiet | 1 (25.0%) |" in told["reasons"]
    for text in told.values():
        assert "alert" not in text and "quiet.wav" not in text


def test_recordings_play_from_the_lake_or_from_their_source(lake: Lake, corpus: Any) -> None:
    report = report_corpus(corpus, lake)
    found = page(lake, report_path("made"))
    sounds = [attributes["src"] or "" for tag, attributes in found.tags if tag == "audio"]
    assert report.outcome.summary["players"] == len(sounds) == 4
    lengths = []
    for sound in sounds:
        samples, rate = sf.read(io.BytesIO(base64.b64decode(sound.partition(",")[2])))
        lengths.append(round(len(samples) / rate, 1))
    assert min(lengths) >= 0.5
    assert "from the stored audio" in found.words and "from the source, first channel" in found.words


def test_the_same_tables_give_the_same_bytes_and_are_not_shown_twice(
    lake: Lake, corpus: Any, make: Any
) -> None:
    assert report_corpus(corpus, lake).outcome.recomputed
    assert write_index(lake, [corpus])
    before = make.files_of(Path(lake.root, "reports"))
    assert not report_corpus(corpus, lake).outcome.recomputed
    assert not write_index(lake, [corpus])
    lake.filesystem.rm(lake.full_path(report_path("made")))
    assert report_corpus(corpus, lake).outcome.recomputed
    assert make.files_of(Path(lake.root, "reports")) == before
    assert len(read_records(lake, "made")) == 1


def test_a_row_that_is_gone_from_the_tables_is_gone_from_the_page(
    lake: Lake, corpus: Any, make: Any, tmp_path: Path
) -> None:
    report_corpus(corpus, lake)
    assert "quiet.wav" in page(lake, report_path("made")).words
    (tmp_path / "c" / "metadata.csv").write_text("b|hello there|hello there\n")
    for name in ("a", "quiet", "cut"):
        (tmp_path / "c" / "wavs" / f"{name}.wav").unlink()
    make.run_all(corpus, lake)
    assert report_corpus(corpus, lake).outcome.recomputed
    words = page(lake, report_path("made")).words
    assert "quiet.wav" not in words and "cut.wav" not in words
    state = Path(lake.root, "profiles", "made", "000001.json").read_text()
    assert "quiet.wav" not in state and "alert" not in state


def test_a_loss_of_hours_is_told_until_it_is_accepted(
    lake: Lake, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "histograms_markdown", lambda *_: "drawn")  # most of four pages' time
    entry = make.ljspeech(tmp_path / "c", [(name, "hello there") for name in "abcd"])
    make.run_all(entry, lake)
    first = report_corpus(entry, lake)
    assert first.comparison.passed and first.outcome.summary["drift"] == "first state"
    (tmp_path / "c" / "metadata.csv").write_text("a|hello there|hello there\nb|hello there|hello there\n")
    for name in "cd":
        (tmp_path / "c" / "wavs" / f"{name}.wav").unlink()
    make.run_all(entry, lake)
    for _ in range(2):
        second = report_corpus(entry, lake)
        assert [finding.kind for finding in second.comparison.findings] == ["hours"]
        assert "50.0% less; the limit is 10.0%" in page(lake, report_path("made")).words
    accept_last(lake, "made")
    assert report_corpus(entry, lake).comparison.passed
    assert "was accepted" in page(lake, report_path("made")).words
    assert not report_corpus(entry, lake).outcome.recomputed


def test_a_corpus_of_texts_has_a_page_too(lake: Lake, make: Any, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "one two"}]
    entry = make.jsonl(tmp_path / "c", [{"id": "t", "messages": messages}])
    make.run_all(entry, lake)
    report_corpus(entry, lake)
    assert "No recording of this corpus was decoded." in page(lake, report_path("made")).words
    assert read_drawings(lake, "made")["histograms"] == "made: no audio"


def test_a_corpus_that_was_not_prepared_says_which_table_is_missing(
    lake: Lake, make: Any, tmp_path: Path
) -> None:
    with pytest.raises(MissingTableError, match="raw_utterances has no partition 'made'"):
        report_corpus(make.ljspeech(tmp_path / "c", [("a", "hello")]), lake)
