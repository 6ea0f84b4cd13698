"""Common Voice: columns by the header of the release, quotes as they stand, clips of other lists left alone."""

from __future__ import annotations

import pytest

from validation.errors import ConfigurationError


def test_real_lists_are_read(make, read):
    found = read("common_voice", make.shared("common_voice/cv-corpus/en"), file="train.tsv")
    assert list(found.texts.values()) == ["no", "Fire fox"]
    row = found.said["common_voice_en_22058266"]
    assert (row.audio, row.language) == ("clips/common_voice_en_22058266.mp3", "en")
    assert (row.speaker, row.fields["up_votes"]) == ("placeholder_b5dbdcba4aedb28088bd6ddb", "2")
    japanese = read("common_voice", make.shared("common_voice/cv-corpus/ja"))
    assert list(japanese.texts.values()) == ["真っ昼間なのにキャンプの外れの電柱に電球がともっていた"]


def test_rows_of_an_older_release_and_bad_ones(lay, read):
    header = "client_id\tpath\tsentence\tup_votes\taccent\n"
    rows = (
        b'ann\ta.mp3\tSay "no"\t2\tscots\n\nbob\tb.mp3\ttoo\tmany\t1\tcolumns\nbob\tc.mp3\n'
        b"\tD.mp3\tx\t0\t\nann\te.mp3\t\xff\t0\t\n"
    )
    root = lay(
        {"validated.tsv": header.encode() + rows, "clips/a.mp3": b"", "clips/of_another_list.mp3": b""}
    )
    found = read("common_voice", root)
    assert found.texts == {"a": 'Say "no"'}
    assert (found.said["a"].fields["accents"], found.said["a"].language) == ("scots", None)
    assert found.reasons == {
        "validated.tsv:4": "column_count",
        "validated.tsv:5": "column_count",
        "validated.tsv:6": "malformed_row",
        "validated.tsv:7": "not_utf8",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("client_id\tpath\n", r"validated.tsv:1: the header lacks \['sentence'\]"),
        ("client_id\tpath\tsentence\tpath\n", r"validated.tsv:1: the header names \['path'\] twice"),
        (b"client_id\tp\xffth\tsentence\n", "validated.tsv:1: not UTF-8"),
        ("\n", "validated.tsv is empty; wanted is a header with client_id, path, sentence"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error_of_the_corpus(lay, read, content, said):
    with pytest.raises(ConfigurationError, match=said):
        read("common_voice", lay({"validated.tsv": content}))
