"""Tables: any delimiter, columns by name, every bad row told, and options that contradict each other refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from validation.errors import ConfigurationError

PLAIN = {"file": "t.csv", "audio": "path", "text": "said"}


def test_a_real_csv_without_header(make, read):
    columns = ["file", "said", "lang", "kind"]
    options = {"columns": columns, "audio": "file", "text": "said", "language": "lang", "fields": ["kind"]}
    found = read("table", make.shared("mycroft_precise/not-wake-words/en"), file="metadata.csv", **options)
    assert len(found.said) == 22
    row = found.said["notwakeword-en-1fd8b5fe-cb5f-46f3-a65e-1aae0ae975e6.wav"]
    assert (row.text, row.language, row.fields["kind"]) == ("warning", "en", "")
    assert not found.problems


def test_a_real_list_of_names_and_texts_with_comments(make, read):
    options = {
        "file": "core-sounds-en.txt",
        "columns": ["name", "text"],
        "audio": "name",
        "text": "text",
        "delimiter": ":",
        "quoted": False,
        "comment": ";",
        "audio_path": "en_US_f_Allison/{audio}.wav",
        "speaker_name": "Allison",
    }
    found = read("table", make.shared("asterisk_prompts"), **options)
    assert len(found.said) == 85
    assert found.texts["tt-weasels"] == "Weasels have eaten our phone system"
    assert found.said["digits/0"].audio == "en_US_f_Allison/digits/0.wav"
    assert {row.speaker for row in found.said.values()} == {"Allison"}
    assert not found.problems


def test_a_real_tsv_with_header_and_empty_texts(make, read):
    options = {"audio": "path", "text": "text", "language": "language", "delimiter": "\t"}
    found = read("table", make.shared("formats"), file="transcripts.tsv", **options)
    assert len(found.said) == 22
    assert found.texts["speech_recognition/audio-mono-8-bit-44100Hz.wav"] == "one two three"
    assert not found.problems


@pytest.mark.parametrize(
    ("head", "columns"), [("id|text\n", None), ("", ["id", "text"])], ids=["header", "no header"]
)
def test_ljspeech_with_two_columns_is_a_table(lay, read, head, columns):
    root = lay(
        {
            "metadata.csv": head + 'LJ1|He said "no|\nLJ2|She said "no"\n',
            "wavs/LJ2.wav": b"",
            "wavs/LJ3.wav": b"",
        }
    )
    options = {"columns": columns, "audio": "id", "text": "text", "delimiter": "|", "quoted": False}
    found = read("table", root, file="metadata.csv", audio_path="wavs/{audio}.wav", **options)
    assert found.texts == {"LJ2": 'She said "no"'}
    assert found.said["LJ2"].audio == "wavs/LJ2.wav"
    line = 2 if head else 1
    assert found.reasons == {f"metadata.csv:{line}": "column_count", "wavs/LJ3.wav": "no_transcript"}


def test_rows_are_quoted_as_csv_is_and_an_open_quote_spoils_its_own_row_only(lay, read):
    rows = 'path,said,who\na.wav,"one, two",ann\nb.wav,"open,ann\nc.wav,"x"y,ann\n,no path,ann\ne.wav,e,\n'
    found = read("table", lay({"t.csv": rows}), speaker="who", **PLAIN)
    assert found.texts == {"a.wav": "one, two", "e.wav": "e"}
    assert [row.speaker for row in found.said.values()] == ["ann", "unknown"]
    assert found.reasons == dict.fromkeys(["t.csv:3", "t.csv:4", "t.csv:5"], "malformed_row")


def test_unlisted_audio_is_reported_unless_the_root_holds_more(lay, read):
    root = lay({"t.csv": "path,said\n/data/old/in.wav,x\n", "in.wav": b"", "more.wav": b""})
    moved = read("table", root, strip_prefix="/data/old/", **PLAIN)
    assert moved.said["/data/old/in.wav"].audio == "in.wav"
    assert moved.reasons == {"more.wav": "no_transcript"}
    assert not read("table", root, strip_prefix="/data/old/", unlisted="ignore", **PLAIN).problems


def test_a_file_named_by_its_absolute_path_is_not_reported_too(lay, read):
    root = lay({"in.wav": b""})
    (root / "t.csv").write_text(f"path,said\n{root}/in.wav,x\n")
    assert not read("table", root, **PLAIN).problems


@pytest.mark.parametrize("header", ["path,said,said\n", "path,text\n", ""])
def test_a_header_without_the_columns_is_an_error_of_the_corpus(lay, read, header):
    with pytest.raises(ConfigurationError, match=r"t\.csv"):
        read("table", lay({"t.csv": header}), **PLAIN)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delimiter": "::"}, "one character"),
        ({"columns": ["path", "path", "said"]}, "stands twice"),
        ({"columns": ["path", "text"]}, r"columns lack \['said'\]"),
        ({"audio_path": "wavs"}, r"needs \{audio\} once"),
        ({"speaker": "who", "speaker_name": "ann"}, "either speaker or speaker_name"),
        ({"file": "../t.csv"}, "below the root"),
        ({"fields": ["text"]}, "every reader gives"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_options_that_contradict_each_other_are_refused(make, tmp_path, options, said):
    with pytest.raises(ValidationError, match=said):
        make.entry("table", tmp_path, options={**PLAIN, **options})
