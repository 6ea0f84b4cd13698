"""MLS: tabbed transcripts per split, audio in FLAC or Opus."""

from __future__ import annotations


def test_real_spanish_is_read(make, read):
    found = read("mls", make.shared("mls/mls_spanish_opus"))
    (row,) = found.said.values()
    assert row.audio == "train/audio/13697/11991/13697_11991_000000.opus"
    assert row.text.startswith("la sorpresa y el disgusto que produjo a wentworth la substitución")
    assert (row.speaker, dict(row.fields)) == ("13697", {"subset": "train", "book": "11991"})
    assert not found.problems


def test_every_kind_of_bad_line_has_its_own_reason(lay, read):
    audio = "dev/audio/7/8"
    lines = (
        b"\xef\xbb\xbf7_8_1\tuno\r\n7_8_2\t\n7_8_3 dos\n7_8_4\ta\tb\nx\ty\n\xff\tz\n\tno id\n\n"
        b"7_8_9\tgone\n../../7/8_9_9\tx\n"
    )
    root = lay(
        {
            "dev/transcripts.txt": lines,
            f"{audio}/7_8_1.flac": b"",
            f"{audio}/7_8_2.opus": b"",
            f"{audio}/7_8_4.flac": b"",
            f"{audio}/7_8_8.flac": b"",
        }
    )
    found = read("mls", root)
    assert found.texts == {"7_8_1": "uno", "7_8_2": "", "7_8_9": "gone"}
    assert found.said["7_8_9"].audio == f"{audio}/7_8_9.flac"
    assert found.reasons == {
        "dev/transcripts.txt:3": "wrong_delimiter",
        "dev/transcripts.txt:4": "column_count",
        "dev/transcripts.txt:5": "unmatched_name",
        "dev/transcripts.txt:6": "not_utf8",
        "dev/transcripts.txt:7": "unmatched_name",
        "dev/transcripts.txt:10": "unmatched_name",
        f"{audio}/7_8_8.flac": "no_transcript",
    }
