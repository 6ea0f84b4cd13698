"""Kaldi directories: joined by id in any order, commands never run, segments cut from recordings."""

from __future__ import annotations

from assets.corpora.ingest import ingest
from validation.ledger import read_ledger

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


def test_segments_are_parts_of_recordings(lay, read):
    segments = (
        "u1 r1 0.50 2.0\nu2 r1 2.0 -1\nu3 r2 3 1\nu4 r2 -2 1\nu5 r2 x 1\nu6 r2 0\nu7 gone 0 1\nu8 r1 0 1\n"
    )
    text = "".join(f"u{n} text {n}\n" for n in (1, 2, 3, 4, 5, 6, 7, 9))
    root = lay(
        {
            "data/wav.scp": "r1 one.wav\nr2 two.wav\nr3 three.wav\nr4 sox x |\n",
            "data/text": text,
            "data/segments": segments,
            "data/utt2spk": "".join(f"u{n} ann\n" for n in range(1, 10)),
            **{f"{name}.wav": b"" for name in ("one", "two", "three", "four")},
        }
    )
    found = read("kaldi", root, directory="data")
    parts = {
        name: (row.audio, row.segment_start_s, row.segment_end_s, row.text)
        for name, row in found.said.items()
    }
    assert parts == {"u1": ("one.wav", 0.5, 2.0, "text 1"), "u2": ("one.wav", 2.0, None, "text 2")}
    assert found.reasons == {
        "data/wav.scp:4": "malformed_row",
        "data/segments:3": "bad_segment",
        "data/segments:4": "bad_segment",
        "data/segments:5": "malformed_row",
        "data/segments:6": "column_count",
        "data/segments:7": "missing_audio",
        "data/segments:8": "no_transcript",
        "data/wav.scp:3": "no_transcript",
        "data/text:8": "missing_audio",
        "four.wav": "no_transcript",
    }
    assert found.problems["data/segments:4"].utterance_id == "u4"


def test_segments_are_stored_each_with_its_own_audio(tmp_path, lake, make):
    make.speech(tmp_path / "c" / "long.wav", seconds=4.0)
    for name, content in {
        "wav.scp": "long long.wav\n",
        "text": "a some words\nb some more words\nc too far\n",
        "segments": "a long 0 1.5\nb long 1.5 -1\nc long 3 9\n",
    }.items():
        (tmp_path / "c" / name).write_text(content)
    entry = make.entry("kaldi", tmp_path / "c")
    assert ingest(entry, lake).rows == 3
    make.run_all(entry, lake)
    stored = lake.read_table("audio_22k", "made").select("utterance_id", "duration_s").rows()
    assert [(name, round(length, 3)) for name, length in stored] == [("a", 1.5), ("b", 2.5)]
    assert dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows()) == {
        "a": "accepted",
        "b": "accepted",
        "c": "bad_segment",
    }


def test_lines_in_another_encoding_are_told(lay, read):
    root = lay({"wav.scp": b"a a.wav\nb \xff.wav\n", "text": b"a \xff\nb x\n\xe3\x80\x80\n"})
    assert read("kaldi", root).reasons == {
        "text:1": "not_utf8",
        "wav.scp:1": "no_transcript",
        "wav.scp:2": "not_utf8",
        "text:2": "missing_audio",
    }


def test_a_recording_that_only_a_faulty_segment_names_is_not_told_to_have_none(lay, read):
    lists = {"wav.scp": "r a.wav\n", "text": "u hi\n", "segments": "u r 0 1 0\n", "a.wav": b""}
    assert read("kaldi", lay(lists)).reasons == {"segments:1": "column_count"}
