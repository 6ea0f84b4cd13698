"""WeNet's data.list: JSON lines of whole files and of parts of long ones."""

from __future__ import annotations

import json


def test_a_real_list_is_read_wherever_it_was_written_for(make, read):
    whole = read("wenet_list", make.shared("wenet_datalist"), file="test/resources/dataset/data.list")
    assert whole.texts["test/resources/dataset/aishell-BAC009S0724W0121"] == "广州市房地产中介协会分析"
    assert not whole.problems
    folder = make.shared("wenet_datalist/test/resources/dataset")
    moved = read("wenet_list", folder, strip_prefix="test/resources/dataset/")
    assert {row.audio for row in moved.said.values()} == {
        "aishell-BAC009S0724W0121.wav",
        "librispeech-1995-1837-0001.wav",
    }
    assert not moved.problems


def test_lines_that_are_no_whole_utterance_have_reasons(lay, read):
    good = {"key": "a", "wav": "a.wav", "txt": "x", "speaker": "ann", "lang": "zh"}
    lines = [
        json.dumps(good),
        json.dumps({**good, "key": "b", "start": 2.0, "end": 0.5}),
        json.dumps({"key": "c", "wav": "c.wav"}),
        json.dumps({**good, "key": ""}),
        json.dumps({**good, "txt": 3}),
        '{"key": "\\ud800", "wav": "x", "txt": "y"}',
        "[" * 100_000,
        "9" * 5_000,
        "[1]",
        "",
    ]
    found = read("wenet_list", lay({"data.list": "\n".join(lines), "a.wav": b"", "c.wav": b"", "z.wav": b""}))
    row = found.said["a"]
    assert (row.text, row.speaker, row.language) == ("x", "ann", "zh")
    assert found.reasons == {
        "data.list:2": "bad_segment",
        **dict.fromkeys([f"data.list:{line}" for line in range(3, 10)], "malformed_row"),
        "z.wav": "no_transcript",
    }
    assert found.problems["data.list:2"].utterance_id == "b"
    assert "ends at 0.500 s and starts at 2.000 s" in found.problems["data.list:2"].detail


def test_lines_with_times_are_parts_of_a_file(lay, read):
    line = {"wav": "long.wav", "txt": "x"}
    lines = [
        {**line, "key": "a", "start": 0.5, "end": 2.25},
        {**line, "key": "b", "start": "3"},
        {**line, "key": "c", "end": 1},
        {**line, "key": "d", "start": True},
        {**line, "key": "e", "end": "nan"},
    ]
    found = read("wenet_list", lay({"data.list": "\n".join(map(json.dumps, lines)), "long.wav": b""}))
    parts = {name: (row.segment_start_s, row.segment_end_s) for name, row in found.said.items()}
    assert parts == {"a": (0.5, 2.25), "b": (3.0, None), "c": (0.0, 1.0)}
    assert found.reasons == {"data.list:4": "malformed_row", "data.list:5": "malformed_row"}
