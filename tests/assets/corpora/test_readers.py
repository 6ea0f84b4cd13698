"""Each reader: every row of its layout is an utterance or a problem with a reason of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.corpora import READERS
from assets.corpora.config import CorpusEntry
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.utterance import Row, SourceProblem, Utterance


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


def test_librispeech_reads_transcripts_and_reports_the_rest(tmp_path, make):
    chapter = "test-other/61/70968"
    root = files(
        tmp_path,
        {
            f"{chapter}/61-70968.trans.txt": b"61-70968-0000 HE SAID SO\n\n61-70968-0001\n\xff\xfe no\n"
            b"61-70968-0009 GONE\r\n",
            f"{chapter}/61-70968-0000.flac": b"",
            f"{chapter}/61-70968-0001.flac": b"",
            f"{chapter}/61-70968-0002.flac": b"",
        },
    )
    rows = rows_of(make.entry("librispeech", root))
    said = [row for row in rows if isinstance(row, Utterance)]
    assert [(row.utterance_id, row.text) for row in said] == [
        ("61-70968-0000", "HE SAID SO"),
        ("61-70968-0001", ""),
        ("61-70968-0009", "GONE"),
    ]
    assert (said[0].speaker, dict(said[0].fields)) == ("61", {"subset": "test-other", "chapter": "70968"})
    assert said[2].audio == f"{chapter}/61-70968-0009.flac"
    assert reasons_of(rows) == {
        f"{chapter}/61-70968.trans.txt:4": "not_utf8",
        f"{chapter}/61-70968-0002.flac": "no_transcript",
    }


def test_ljspeech_gives_every_kind_of_bad_row_its_own_reason(tmp_path, make):
    metadata = (
        b"\xef\xbb\xbfa|one|one\r\nb|written|\nc\ttab|\nd\ttab, no pipe\n\ne|two\nf|1|2|3\n|no id|no id\n\xff|x|x\n"
        b"zoe-1|said|said\n"
    )
    root = files(
        tmp_path, {"metadata.csv": metadata, "wavs/a.wav": b"", "wavs/z.flac": b"", "wavs/e.wav": b""}
    )
    rows = rows_of(make.entry("ljspeech", root, options={"speaker": "eve"}))
    said = {row.utterance_id: row for row in rows if isinstance(row, Utterance)}
    assert {name: row.text for name, row in said.items()} == {"a": "one", "b": "written", "zoe-1": "said"}
    assert said["a"].audio == "wavs/a.wav"
    assert {row.speaker for row in said.values()} == {"eve"}
    assert reasons_of(rows) == {
        "metadata.csv:3": "column_count",
        "metadata.csv:4": "wrong_delimiter",
        "metadata.csv:6": "column_count",
        "metadata.csv:7": "column_count",
        "metadata.csv:8": "malformed_row",
        "metadata.csv:9": "not_utf8",
        "wavs/z.flac": "no_transcript",
    }


def test_ljspeech_has_relatives_with_headers_and_two_columns(tmp_path, make):
    root = files(
        tmp_path, {"metadata.csv": "file|text\na|one\nb|two|two\n", "wavs/a.wav": b"", "wavs/b.wav": b""}
    )
    rows = rows_of(make.entry("ljspeech", root, options={"columns": 2, "header": True}))
    assert [row.text for row in rows if isinstance(row, Utterance)] == ["one"]
    assert reasons_of(rows) == {"metadata.csv:3": "column_count"}


def test_audio_that_differs_in_its_extension_only_is_told_not_dropped(tmp_path, make):
    chapter = "s/1/2"
    layouts = {
        "librispeech": {f"{chapter}/1-2.trans.txt": "1-2-0 YES\n"},
        "ljspeech": {"metadata.csv": "1-2-0|yes|yes\n"},
    }
    for reader, texts in layouts.items():
        folder = chapter if reader == "librispeech" else "wavs"
        audio = {f"{folder}/{name}": b"" for name in ("1-2-0.flac", "1-2-0.wav", "1-2-9.flac", "1-2-9.ogg")}
        rows = rows_of(make.entry(reader, files(tmp_path / reader, {**texts, **audio})))
        (said,) = (row for row in rows if isinstance(row, Utterance))
        own, other = (".flac", ".wav") if reader == "librispeech" else (".wav", ".flac")
        assert said.audio == f"{folder}/1-2-0{own}"
        assert reasons_of(rows) == {
            f"{folder}/1-2-0{other}": "duplicate_id",
            f"{folder}/1-2-9.flac": "no_transcript",
            f"{folder}/1-2-9.ogg": "duplicate_id",
        }


@pytest.mark.parametrize(
    ("reader", "name", "options"),
    [
        ("librispeech", "s/1/2/1-2.trans.txt", {}),
        ("jsonl", "rows.jsonl", {}),
        ("ljspeech", "metadata.csv", {}),
    ],
)
def test_texts_behind_links_that_lead_nowhere_or_out_are_not_read(tmp_path, make, reader, name, options):
    files(tmp_path / "outside", {"texts": "secret|secret|secret\n"})
    root = files(tmp_path / "root", {"wavs/x.flac": b""})
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    for target, reason in ((root / "nothing", "missing_file"), (tmp_path / "outside/texts", "outside_root")):
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
        rows = rows_of(make.entry(reader, root, options=options))
        assert reasons_of(rows)[name] == reason
        assert not any(isinstance(row, Utterance) for row in rows)


def test_ljspeech_takes_the_speaker_from_the_id(tmp_path, make):
    root = files(tmp_path, {"metadata.csv": "zoe-1|a|a\n2|b|b\n"})
    rows = rows_of(make.entry("ljspeech", root, options={"speaker_pattern": "^(?P<speaker>[a-z]+)-"}))
    assert isinstance(rows[0], Utterance)
    assert rows[0].speaker == "zoe"
    assert reasons_of(rows) == {"metadata.csv:2": "unmatched_name"}


def test_labelled_names_reads_what_the_pattern_names(tmp_path, make):
    root = files(
        tmp_path, {"0_ann_1.wav": b"", "sub/1_bob_2.wav": b"", "7_ann_0.wav": b"", "README.txt": "hello"}
    )
    pattern = r"(?P<label>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)\.wav"
    options = {"pattern": pattern, "labels": {"0": "zero", "1": "one"}}
    rows = rows_of(make.entry("labelled_names", root, options=options))
    said = [row for row in rows if isinstance(row, Utterance)]
    assert [(row.utterance_id, row.text, row.speaker, row.fields["take"]) for row in said] == [
        ("0_ann_1.wav", "zero", "ann", "1"),
        ("sub/1_bob_2.wav", "one", "bob", "2"),
    ]
    assert reasons_of(rows) == {"7_ann_0.wav": "unknown_label", "README.txt": "unmatched_name"}


GOOD = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "yes\n<|audio|>"}]


def test_jsonl_gives_a_row_per_audio_and_one_for_text(tmp_path, make):
    text = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "content": "4"},
    ]
    lines = [
        {"messages": GOOD, "audios": ["q.wav", "a.wav"], "id": "talk", "speaker": "ann", "language": "de"},
        {"messages": text},
    ]
    root = files(tmp_path, {"x/rows.jsonl": "\n".join(json.dumps(line) for line in lines) + "\n\n"})
    question, answer, written = rows_of(make.entry("jsonl", root))
    assert (
        isinstance(question, Utterance) and isinstance(answer, Utterance) and isinstance(written, Utterance)
    )
    assert (question.utterance_id, question.marker, question.text, question.audio) == (
        "talk#0",
        0,
        "",
        "q.wav",
    )
    assert (answer.utterance_id, answer.marker, answer.text, answer.language) == ("talk#1", 1, "yes", "de")
    assert (written.utterance_id, written.audio, written.tasks) == ("x/rows:2", None, ("text",))
    assert json.loads(str(question.messages)) == GOOD


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        json.dumps({"messages": []}),
        json.dumps({"messages": GOOD, "audios": ["only-one.wav"]}),
        json.dumps({"messages": GOOD, "audios": ["q.wav", "a.wav"], "colour": "red"}),
        json.dumps({"messages": [{"role": "robot", "content": "x"}]}),
        json.dumps({"messages": [{"role": "user", "content": "x"}]}),
        json.dumps({"messages": [{"role": "assistant", "content": " "}]}),
        json.dumps({"messages": [{"role": "assistant", "content": "a<|im_end|>b"}]}),
        json.dumps({"messages": [{"role": "assistant", "content": 3}]}),
        json.dumps({"messages": GOOD, "audios": "q.wav"}),
    ],
)
def test_jsonl_refuses_lines_that_are_no_training_rows(tmp_path, make, line):
    rows = rows_of(make.entry("jsonl", files(tmp_path, {"rows.jsonl": line + "\n"})))
    assert reasons_of(rows) == {"rows.jsonl:1": "malformed_row"}


@pytest.mark.parametrize(
    "named",
    [
        "../x.wav",
        "a/../../x.wav",
        "/etc/passwd",
        "/etc/\0",
        "a\0",
        "s3://other/x.wav",
        "link.wav",
        "folder/x.wav",
    ],
)
def test_no_path_leads_out_of_the_root(tmp_path, named):
    outside = tmp_path / "outside"
    files(outside, {"x.wav": b"secret"})
    root = files(tmp_path / "root", {"a/in.wav": b""})
    (root / "link.wav").symlink_to(outside / "x.wav")
    (root / "folder").symlink_to(outside)
    with pytest.raises(OutsideRootError):
        CorpusRoot(str(root)).resolve(named)


def test_paths_inside_the_root_resolve_however_they_are_written(tmp_path):
    root = files(tmp_path / "root", {"a/in.wav": b""})
    (root / "link.wav").symlink_to(root / "a" / "in.wav")
    (root / "folder").symlink_to(root / "a")
    (tmp_path / "mount").symlink_to(root)
    corpus = CorpusRoot(str(tmp_path / "mount"))
    assert corpus.resolve("./a/in.wav") == "a/in.wav"
    assert corpus.resolve(str(root / "a" / "in.wav")) == "a/in.wav"
    assert corpus.resolve(str(tmp_path / "mount" / "a" / "in.wav")) == "a/in.wav"
    assert corpus.resolve("link.wav") == "link.wav"
    assert corpus.resolve("folder/in.wav") == "a/in.wav"
    assert corpus.resolve("a/none.wav") is None


def test_names_that_are_no_file_resolve_to_none(tmp_path):
    root = files(tmp_path, {"a/in.wav": b""})
    (root / "gone.wav").symlink_to(root / "nothing")
    (root / "circle.wav").symlink_to(root / "circle.wav")
    os.mkfifo(root / "pipe.wav")
    corpus = CorpusRoot(str(root))
    assert list(corpus.files) == ["a/in.wav", "circle.wav", "gone.wav", "pipe.wav"]
    for name in ("gone.wav", "circle.wav", "circle.wav/x.wav", "pipe.wav", f"{'x' * 300}.wav"):
        assert corpus.resolve(name) is None, name
    assert corpus.resolve(f"{root}/{'x' * 300}.wav") is None


def test_folders_that_are_not_read_are_told(tmp_path):
    files(tmp_path / "outside", {"x.wav": b""})
    root = files(tmp_path / "root", {"a/in.wav": b"", ".hidden/y.wav": b""})
    before = CorpusRoot(str(root)).listing_digest()
    (root / "inside").symlink_to(root / "a")
    (root / "itself").symlink_to(root)
    assert CorpusRoot(str(root)).faults == []
    (root / "aside").symlink_to(root / ".hidden")
    (root / "disk").symlink_to(tmp_path / "outside")
    corpus = CorpusRoot(str(root))
    assert [(fault.source, fault.reason) for fault in corpus.faults] == [
        ("aside", "outside_root"),
        ("disk", "outside_root"),
    ]
    assert str(tmp_path / "outside") in corpus.faults[1].detail
    assert corpus.listing_digest() != before


def test_a_line_beyond_the_limit_is_one_whatever_stands_there(tmp_path, monkeypatch):
    monkeypatch.setattr("assets.corpora.root.MOST_LINE_BYTES", 8)
    content = (
        b"12345678\rmore\n12345678\r\r\r\r\r\rmore\n12345678\r\n123456789\n123456789\r\nshort\r\n12345678"
    )
    root = CorpusRoot(str(files(tmp_path / "root", {"x.txt": content})))
    found = [len(line) > 8 for _, line in root.lines("x.txt")]
    assert found == [True, True, False, True, True, False, False]
