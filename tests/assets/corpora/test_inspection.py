"""Inspection: the layout of every folder is guessed, its entry can be pasted, and what is not certain is said."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from assets.corpora.config import CorporaFileError, CorpusEntry, load_corpora
from assets.corpora.ingest import ingest
from assets.corpora.inspection import inspect_root
from assets.corpora.inspection_text import entries, report
from validation.errors import UserError


def pasted(tmp_path: Path, root: Path) -> list[CorpusEntry]:
    """The entries as a person would paste them, with what was to be filled in."""
    text = entries(inspect_root(str(root)))
    text = text.replace("licence: FILL_IN", "licence: CC0-1.0").replace("language: FILL_IN", "language: en")
    path = tmp_path / "corpora.yaml"
    path.write_text("corpora:\n" + text, encoding="utf-8")
    return list(load_corpora(path).corpora)


REAL = [
    ("aishell3", "aishell3", True, 20),
    ("asterisk_prompts", "table", True, 85),
    ("common_voice", "common_voice", True, 3),
    ("fleurs_sidecar", "sidecar", True, 30),
    ("formats", "table", True, 17),
    ("fsdd", "labelled_names", False, 2000),
    ("librispeech", "librispeech", True, 61),
    ("librispeech_untranscribed", "untranscribed", False, 10),
    ("ljspeech", "ljspeech", False, 20),
    ("mfa_sidecar", "sidecar", True, 1),
    ("mls", "mls", True, 1),
    ("mycroft_precise", "table", True, 22),
    ("quality", "untranscribed", False, 25),
    ("sphinx", "sphinx", True, 5),
    ("watson_untranscribed", "untranscribed", False, 10),
    ("wenet_datalist", "kaldi", False, 2),
    ("yesno", "labelled_names", False, 12),
    ("broken", "untranscribed", False, 19),
    ("broken/ljspeech_bad_metadata", "ljspeech", False, 1),
]


@pytest.mark.parametrize(("folder", "reader", "is_sure", "rows"), REAL, ids=[row[0] for row in REAL])
def test_real_layouts_are_guessed_and_their_entries_read(tmp_path, lake, make, folder, reader, is_sure, rows):
    root = make.shared(folder)
    found = inspect_root(str(root))
    assert found.best is not None
    assert (found.best.guess.reader, not found.doubts) == (reader, is_sure)
    corpora = pasted(tmp_path, root)
    assert sum(ingest(entry, lake).rows for entry in corpora) == rows
    assert ("NOT SURE" in report(found)) != is_sure


def test_every_folder_of_the_real_data_has_been_tried(make):
    tried = {row[0].partition("/")[0] for row in REAL}
    assert {folder.name for folder in make.shared("").iterdir() if folder.is_dir()} == tried


def test_lists_of_the_same_audio_are_rivals_by_name(make):
    found = inspect_root(str(make.shared("wenet_datalist")))
    assert {trial.guess.reader for trial in found.trials[:3]} == {"kaldi", "wenet_list"}
    assert sum("rows as well" in doubt for doubt in found.doubts) == 2


def test_the_report_shows_rows_with_their_sound_and_every_kind_of_fault(make):
    told = report(inspect_root(str(make.shared("broken/ljspeech_bad_metadata"))))
    assert (
        "LJ001-0002 | LJ | - | in being comparatively modern. | wavs/LJ001-0002.wav (22050 Hz, 1.90 s)"
        in told
    )
    for reason in ("empty_text", "wrong_delimiter", "duplicate_id", "missing_audio", "column_count"):
        assert f"faulty: 1 x {reason}, such as metadata.csv:" in told
    told = report(inspect_root(str(make.shared("formats"))))
    assert "goforward_s16le_16000.raw (not_audio" in told


def test_an_entry_that_is_not_filled_in_is_refused_by_name(tmp_path, make):
    path = tmp_path / "corpora.yaml"
    path.write_text("corpora:\n" + entries(inspect_root(str(make.shared("librispeech")))), encoding="utf-8")
    with pytest.raises(CorporaFileError, match=r"licence: is still to be filled in.*language: is still"):
        load_corpora(path)


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


EMILIA = json.dumps({"id": "a", "text": "x", "speaker": "s", "language": "de", "wav": "a.mp3"})
TALK = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "yes"}]
PART = {"sid": "S0", "begin_time": 0, "end_time": 1, "text": "x", "text_tn": "X", "subsets": ["L"]}
AUDIOS = json.dumps({"audios": [{"aid": "Y", "path": "audio/y.opus", "segments": [PART]}]})
SOUND = pa.array([{"bytes": b"x", "path": "x.wav"}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
MADE: dict[str, tuple[str, dict[str, Any], dict[str, str | bytes]]] = {
    "LibriTTS": ("libritts", {}, {"d/1/2/1_2_3_4.wav": b"", "d/1/2/1_2_3_4.normalized.txt": "x"}),
    "AISHELL-1": (
        "aishell1",
        {"transcript": "data_aishell/transcript/aishell_transcript_v0.8.txt"},
        {
            "data_aishell/transcript/aishell_transcript_v0.8.txt": "BAC009S0002W0122 而 对",
            "data_aishell/wav/train/S0002/BAC009S0002W0122.wav": b"",
        },
    ),
    "WenetSpeech4TTS": (
        "wenetspeech4tts",
        {},
        {"P/P_0/wavs/X_S0.wav": b"", "P/P_0/txts/X_S0.txt": "X_S0\t好"},
    ),
    "WenetSpeech": (
        "wenetspeech",
        {"file": "W/WenetSpeech.json"},
        {"W/WenetSpeech.json": AUDIOS, "W/audio/y.opus": b""},
    ),
    "GigaSpeech": (
        "gigaspeech",
        {"file": "GigaSpeech.json"},
        {"GigaSpeech.json": AUDIOS, "audio/y.opus": b""},
    ),
    "Emilia's tars": ("emilia", {}, {"DE/a.tar": packed({"a.json": EMILIA.encode(), "a.mp3": b"x"})}),
    "Emilia unpacked": ("emilia", {}, {"DE/a.json": EMILIA, "DE/a.mp3": b""}),
    "Emilia's lines": ("emilia", {}, {"DE/a.jsonl": EMILIA, "DE/a.mp3": b""}),
    "Kaldi elsewhere": (
        "kaldi",
        {"directory": "data/train", "strip_prefix": "/export/corpus/"},
        {"data/train/wav.scp": "u /export/corpus/wav/u.wav\n", "data/train/text": "u x\n", "wav/u.wav": b""},
    ),
    "librispeech_asr": (
        "huggingface",
        {"text": "text", "speaker": "speaker_id", "id": "id"},
        {"data/train-0.parquet": parquet(audio=SOUND, text=["x"], speaker_id=[3], id=["i"])},
    ),
    "VoiceAssistant-400K": (
        "huggingface",
        {"text": "question", "answer": "answer", "id": "index"},
        {"data/train-0.parquet": parquet(index=["1"], question=["q"], question_audio=SOUND, answer=["a"])},
    ),
    "VITA-Audio": (
        "jsonl",
        {},
        {"a.jsonl": json.dumps({"messages": TALK, "audios": ["q.wav"]}), "q.wav": b""},
    ),
    "instructions": ("instructions", {}, {"a.jsonl": json.dumps({"instruction": "2+2", "output": "4"})}),
    "LJSpeech of two columns": (
        "ljspeech",
        {"metadata": "d/metadata.csv", "columns": 2, "header": True},
        {"d/metadata.csv": "file|text\na|one\nb|two\n", "d/wavs/a.wav": b"", "d/wavs/b.wav": b""},
    ),
    "a table with names": (
        "table",
        {
            "file": "t.csv",
            "audio": "Path",
            "text": "Transcript",
            "speaker": "spk",
            "audio_path": "clips/{audio}",
        },
        {"t.csv": 'Path,Transcript,spk\na.mp3,"one, two",ann\n', "clips/a.mp3": b""},
    ),
}


@pytest.mark.parametrize("layout", MADE)
def test_published_layouts_are_guessed(tmp_path, lay, layout):
    reader, options, contents = MADE[layout]
    (entry,) = pasted(tmp_path, lay(contents))
    assert entry.reader == reader
    assert {name: value for name, value in options.items() if getattr(entry.options, name) != value} == {}
    found = inspect_root(entry.root)
    assert found.best is not None and found.best.good


def test_folders_without_anything_to_read_are_said_to_be_so(tmp_path, lay):
    found = inspect_root(str(lay({"README.md": "none", "x.bin": b"\0\1"})))
    assert found.best is None
    assert entries(found) == ""
    assert "NOT KNOWN" in report(found)
    with pytest.raises(UserError, match="is not a folder"):
        inspect_root(str(tmp_path / "none"))


def test_a_corpus_cannot_write_into_the_report(tmp_path, lay):
    hostile = 'a\nlicence: "stolen"\x1b[2J'
    root = lay(
        {f"{hostile}.wav": b"", f"{hostile}.txt": "text\n- name: evil", "b.wav": b"", "b.txt": "\x1b[31m"}
    )
    told = report(inspect_root(str(root)))
    assert "\x1b" not in told
    (entry,) = yaml.safe_load(told)
    assert (entry["name"], entry["licence"]) == ("corpus", "FILL_IN")


def test_only_the_first_rows_are_read(lay, monkeypatch):
    lines = "".join(f"u{n}|text|text\n" for n in range(5_000))
    root = lay({"metadata.csv": lines, **{f"wavs/u{n}.wav": b"" for n in range(600)}})
    found = inspect_root(str(root))
    assert found.best is not None
    assert (found.best.guess.reader, found.best.read, found.best.is_whole) == ("ljspeech", 500, False)
    assert "500 of the first 500 rows can be read" in report(found)
