"""Kaldi directories: joined by id in any order, commands never run, segments refused."""

from __future__ import annotations

import pytest

from validation.errors import ConfigurationError

REAL = "wenet_datalist/test/resources/dataset"


def test_a_real_pair_without_speakers_is_read(make, read):
    found = read("kaldi", make.shared("wenet_datalist"), directory="test/resources/dataset")
    assert found.texts["test/resources/dataset/aishell-BAC009S0724W0121"] == "广州市房地产中介协会分析"
    assert {row.speaker for row in found.said.values()} == {"unknown"}
    assert len(found.said) == 2
    assert not found.problems


def test_lists_are_joined_in_any_order(lay, read):
    root = lay(
        {
            "data/train/wav.scp": "u2 wav/two.wav\nu1  wav/a file.wav\n",
            "data/train/text": "u1 один два\nu2\n",
            "data/train/utt2spk": "u2 bob\nu1 ann\n",
            "data/train/utt2lang": "u1 ru\n",
            "wav/two.wav": b"",
            "wav/a file.wav": b"",
            "wav/three.wav": b"",
        }
    )
    found = read("kaldi", root, directory="data/train")
    assert found.texts == {"u2": "", "u1": "один два"}
    assert {name: (row.speaker, row.language) for name, row in found.said.items()} == {
        "u2": ("bob", None),
        "u1": ("ann", "ru"),
    }
    assert found.said["u1"].audio == "wav/a file.wav"
    assert found.reasons == {"wav/three.wav": "no_transcript"}
    assert not read("kaldi", root, directory="data/train", unlisted="ignore").problems


def test_commands_and_archives_are_bad_rows_and_are_never_run(lay, read, tmp_path):
    scp = f"a touch {tmp_path}/ran |\nb sox x.wav -t wav - |\nc feats.ark:12\nd -\ne\nf\tf.wav\ng g.wav\nh h.wav\n"
    text = "a one\nb two\nc three\nd four\ne five\nf six\nf again\ng seven\ni nine\n"
    speakers = "a x\nb x\nc x\nd x\ne x\nf x\nh x\n"
    found = read(
        "kaldi", lay({"wav.scp": scp, "text": text, "utt2spk": speakers, "g.wav": b"", "h.wav": b""})
    )
    assert not (tmp_path / "ran").exists()
    assert found.texts == {"f": "six"}
    assert found.reasons == {
        **dict.fromkeys([f"wav.scp:{line}" for line in (1, 2, 3, 4, 5)], "malformed_row"),
        "text:7": "duplicate_id",
        "wav.scp:7": "malformed_row",
        "wav.scp:8": "no_transcript",
        "text:9": "missing_audio",
    }
    assert "never run" in found.problems["wav.scp:1"].detail
    assert "utt2spk names no speaker of 'g'" in found.problems["wav.scp:7"].detail


def test_segments_are_refused_by_name(lay, read):
    root = lay({"data/wav.scp": "r r.wav\n", "data/text": "u x\n", "data/segments": "u r 0 1\n"})
    with pytest.raises(ConfigurationError, match="data/segments"):
        read("kaldi", root, directory="data")


def test_lines_in_another_encoding_are_told(lay, read):
    root = lay({"wav.scp": b"a a.wav\nb \xff.wav\n", "text": b"a \xff\nb x\n\xe3\x80\x80\n"})
    assert read("kaldi", root).reasons == {
        "text:1": "not_utf8",
        "wav.scp:1": "no_transcript",
        "wav.scp:2": "not_utf8",
        "text:2": "missing_audio",
    }
