"""What holds for every reader: names told once, faults as rows, texts only from within the root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.corpora import READERS
from assets.corpora.config import CorpusEntry
from assets.corpora.options import ReaderOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import Row, SourceProblem, Utterance
from validation.errors import UserError


def rows_of(entry: CorpusEntry) -> list[Row]:
    rows = READERS[entry.reader].read(CorpusRoot(entry.root), entry.options)
    assert isinstance(rows, Iterator)
    return list(rows)


def reasons_of(rows: list[Row]) -> dict[str, str]:
    return {row.source: row.reason for row in rows if isinstance(row, SourceProblem)}


def files(root: Path, contents: dict[str, bytes | str]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


TEXTS = {
    "aishell3": {"train/content.txt": "SSB00050001.wav\t你 ni3 好 hao3\n"},
    "kaldi": {"wav.scp": "x a/x.wav\n", "text": "x said\n"},
    "mls": {"train/transcripts.txt": "1_2_3\tsaid\n"},
    "sidecar": {"a/x.txt": "said", "a/y.txt": "said"},
    "libritts": {"s/1/2/1_2_3_4.normalized.txt": "said"},
    "sphinx": {"a.fileids": "a/x\n", "a.transcription": "<s> said </s> (a/x)\n"},
    "table": {"t.csv": "path,text\na/x.wav,said\n"},
    "wenet_list": {"data.list": '{"key": "x", "wav": "a/x.wav", "txt": "said"}\n'},
    "emilia": {"a/x.json": '{"id": "x", "text": "said", "speaker": "s"}'},
    "wenetspeech4tts": {"P/1/txts/x.txt": "x\tsaid"},
}
STEM = {
    "aishell3": "train/wav/SSB0005/SSB00050001",
    "mls": "train/audio/1/2/1_2_3",
    "libritts": "s/1/2/1_2_3_4",
    "wenetspeech4tts": "P/1/wavs/x",
}
OPTIONS = {"table": {"file": "t.csv", "audio": "path", "text": "text"}}


@pytest.mark.parametrize("reader", TEXTS)
def test_a_second_file_of_one_name_is_a_duplicate_whatever_the_layout(tmp_path, make, reader):
    stem = STEM.get(reader, "a/x")
    own, other = (f"{stem}.flac", f"{stem}.wav") if reader == "mls" else (f"{stem}.wav", f"{stem}.flac")
    root = files(tmp_path, {**TEXTS[reader], own: b"", other: b"", "a/y.mp3": b"", "a/y.ogg": b""})
    rows = rows_of(make.entry(reader, root, options=OPTIONS.get(reader, {})))
    (said,) = (row for row in rows if isinstance(row, Utterance) and row.audio != "a/y.mp3")
    assert said.audio == own
    found = reasons_of(rows)
    assert found[other] == "duplicate_id"
    assert found["a/y.ogg"] == "duplicate_id"
    assert found.get("a/y.mp3", "no_transcript") == "no_transcript"


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_says_what_it_wants(reader):
    kind = READERS[reader].options
    assert kind.wanted is not ReaderOptions.wanted
    assert kind.wanted.__doc__


def test_a_text_behind_a_link_out_of_the_root_is_not_read(tmp_path, make):
    files(tmp_path / "outside", {"x.txt": "secret"})
    root = files(tmp_path / "root", {"x.wav": b"", "y.wav": b""})
    (root / "x.txt").symlink_to(tmp_path / "outside/x.txt")
    (root / "y.txt").symlink_to(root / "nothing")
    rows = rows_of(make.entry("sidecar", root))
    assert reasons_of(rows) == {"x.wav": "outside_root", "y.wav": "missing_file"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", TEXTS)
def test_a_pipe_in_the_place_of_a_text_is_not_waited_for(tmp_path, make, reader):
    stem = STEM.get(reader, "a/x")
    root = files(tmp_path, {f"{stem}.flac" if reader == "mls" else f"{stem}.wav": b""})
    for name in TEXTS[reader]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(root / name)
    try:
        rows = rows_of(make.entry(reader, root, options=OPTIONS.get(reader, {})))
    except UserError as error:
        assert any(name in str(error) for name in TEXTS[reader])
    else:
        assert not [row for row in rows if isinstance(row, Utterance)]


@pytest.mark.parametrize("reader", ["jsonl", "librispeech", "sidecar"])
def test_a_text_that_cannot_be_read_is_a_row_and_stops_nothing(tmp_path, make, monkeypatch, reader):
    root = files(tmp_path, {"s/1/2/a.trans.txt": "1-2-0 a\n", "s/b.jsonl": "{}", "x.txt": "x", "x.wav": b""})
    failing = {"librispeech": "s/1/2/a.trans.txt", "jsonl": "s/b.jsonl", "sidecar": "x.txt"}[reader]
    really = CorpusRoot.open

    def fail(root: CorpusRoot, name: str):
        if name == failing:
            raise PermissionError(13, "Permission denied")
        return really(root, name)

    monkeypatch.setattr(CorpusRoot, "open", fail)
    rows = rows_of(make.entry(reader, root))
    (unreadable,) = (row for row in rows if isinstance(row, SourceProblem) and row.reason == "unreadable")
    assert failing in unreadable.detail and "Permission denied" in unreadable.detail
