"""WenetSpeech and GigaSpeech: segments of one large JSON, read as a stream, each a row or a reason."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from assets.corpora import READERS, json_stream
from assets.corpora.root import CorpusRoot


def wenet(name: str, *segments: object, **more: object) -> dict[str, object]:
    value: dict[str, object] = {
        "aid": name,
        "duration": 2494.57,
        "md5": "48af998ec7dab6964386c3522386fa4b",
        "path": f"audio/train/youtube/B00000/{name}.opus",
        "source": "youtube",
        "tags": ["drama"],
        "url": "none",
        "segments": list(segments),
    }
    return value | more


def wenet_part(name: str, begin: object = 20.08, end: object = 24.4, **more: object) -> dict[str, object]:
    value: dict[str, object] = {
        "sid": name,
        "confidence": 1.0,
        "begin_time": begin,
        "end_time": end,
        "subsets": ["L", "M"],
        "text": "怎么样这些日子住得还习惯吧",
    }
    return value | more


def test_wenetspeech_gives_a_row_per_segment(lay, read):
    audios = [
        wenet("Y1", wenet_part("Y1_S00000"), wenet_part("Y1_S00001", 24.4, 30, text="好")),
        wenet("Y2", wenet_part("Y2_S00000", 0, 3, text=" ")),
        wenet("Y3", wenet_part("Y3_S00000")),
    ]
    folder = "audio/train/youtube/B00000"
    root = lay(
        {
            "W/WenetSpeech.json": json.dumps({"audios": audios}),
            f"W/{folder}/Y1.opus": b"",
            f"W/{folder}/Y2.wav": b"",
            f"W/{folder}/Y9.opus": b"",
        }
    )
    found = read("wenetspeech", root, file="W/WenetSpeech.json")
    first = found.said["Y1_S00000"]
    assert (first.audio, first.segment_start_s, first.segment_end_s) == (f"W/{folder}/Y1.opus", 20.08, 24.4)
    assert first.source == "W/WenetSpeech.json:audios.0.segments.0"
    assert dict(first.fields) == {
        "subsets": "L,M",
        "recording": "Y1",
        "origin": "youtube",
        "tags": "drama",
        "confidence": "1.0",
    }
    assert found.said["Y2_S00000"].audio == f"W/{folder}/Y2.wav"
    assert found.said["Y3_S00000"].audio == f"W/{folder}/Y3.opus"
    assert found.reasons == {f"W/{folder}/Y9.opus": "no_transcript"}


def test_wenetspeech_gives_faulty_segments_and_recordings_a_reason(lay, read):
    audios: list[object] = [
        wenet("half a character", wenet_part("h", text="\ud800")),
        wenet("Latin-1", wenet_part("l", text="caf?")),
        wenet("a", wenet_part("a0", 5, 4), wenet_part("a1", "x"), wenet_part("a2", text=None), 7, None),
        wenet("b", wenet_part("b0", -1), {"begin_time": 0, "end_time": 1, "text": "x"}),
        wenet("c", segments="none"),
        {"aid": "d", "segments": []},
        "text",
        None,
        wenet("last", wenet_part("good")),
    ]
    data = json.dumps({"audios": audios}).encode().replace(b"caf?", b"caf\xe9")
    found = read("wenetspeech", lay({"WenetSpeech.json": data}))
    assert list(found.said) == ["good"]
    place = "WenetSpeech.json:audios"
    assert found.reasons == {
        f"{place}.1": "not_utf8",
        f"{place}.2.segments.0": "bad_segment",
        **dict.fromkeys([f"{place}.2.segments.{n}" for n in (1, 2, 3, 4)], "malformed_row"),
        f"{place}.3.segments.0": "bad_segment",
        f"{place}.3.segments.1": "malformed_row",
        **dict.fromkeys([f"{place}.{n}" for n in (0, 4, 5, 6, 7)], "malformed_row"),
    }
    assert found.problems[f"{place}.4"].utterance_id == "c"
    assert "ends at 4.000 s and starts at 5.000 s" in found.problems[f"{place}.2.segments.0"].detail


@pytest.mark.parametrize(
    "rest", ['{"aid": ', '{"aid": \xff}]}', "nonsense", '{"path": "x\x01"}', "[" * 100_000, ""]
)
def test_a_json_that_breaks_off_keeps_what_it_had(lay, read, rest):
    start = json.dumps({"audios": [wenet("a", wenet_part("a0"))]}).removesuffix("]}") + ","
    found = read("wenetspeech", lay({"WenetSpeech.json": (start + rest).encode("latin-1")}))
    assert list(found.said) == ["a0"]
    assert found.reasons == {"WenetSpeech.json:audios.1": "malformed_row"}
    assert "what follows in the file is not read" in found.problems["WenetSpeech.json:audios.1"].detail


def test_one_endless_recording_does_not_fill_the_memory(lay, read, monkeypatch):
    monkeypatch.setattr(json_stream, "MOST_ITEM_CHARACTERS", 1 << 20)
    audios = [wenet("a", wenet_part("a0")), wenet("b", *[wenet_part(f"b{n}") for n in range(20_000)])]
    found = read("wenetspeech", lay({"WenetSpeech.json": json.dumps({"audios": audios})}))
    assert list(found.said) == ["a0"]
    (problem,) = found.problems.values()
    assert problem.limit == 1 << 20
    assert "no value within 1048576 characters" in problem.detail


def test_memory_does_not_grow_with_the_json(lay, make):
    peaks = []
    for audios in (400, 1200):
        rows = [
            wenet(f"a{n}", *[wenet_part(f"a{n}-{m}", text="x" * 500) for m in range(10)])
            for n in range(audios)
        ]
        root = lay({"WenetSpeech.json": json.dumps({"audios": rows})})
        entry = make.entry("wenetspeech", root)
        corpus = CorpusRoot(entry.root)
        tracemalloc.start()
        assert sum(1 for _ in READERS["wenetspeech"].read(corpus, entry.options)) == audios * 10
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def giga(name: str, text: str, **more: object) -> dict[str, object]:
    value: dict[str, object] = {
        "sid": name,
        "speaker": "N/A",
        "begin_time": 159.0,
        "end_time": 167.52,
        "text_tn": text,
        "subsets": ["{XL}", "{L}"],
    }
    return value | more


def test_gigaspeech_has_tags_for_punctuation_and_for_no_speech(lay, read):
    parts = [
        giga("S0", "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE <COMMA> RIGHT <QUESTIONMARK>"),
        giga("S1", "<MUSIC>"),
        giga("S2", "YES <NOISE>"),
        giga("S3", "NO <COLON>"),
        giga("S4", "GO <EXCLAMATIONPOINT>", speaker="ann", begin_time=1, end_time=2),
    ]
    audio = {
        "title": "none",
        "path": "audio/youtube/P0000/YOU0.opus",
        "aid": "YOU0",
        "source": "youtube",
        "category": "People & Blogs",
        "speaker": "N/A",
        "segments": parts,
    }
    value = {"dataset": "GigaSpeech", "language": "EN", "version": "v1.0.0", "audios": [audio]}
    root = lay({"GigaSpeech.json": json.dumps(value), "audio/youtube/P0000/YOU0.opus": b""})
    found = read("gigaspeech", root)
    assert found.texts == {"S0": "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE, RIGHT?", "S4": "GO!"}
    assert {row.speaker for row in found.said.values()} == {"unknown", "ann"}
    assert found.said["S0"].fields["subsets"] == "XL,L"
    place = "GigaSpeech.json:audios.0.segments"
    assert found.reasons == {
        f"{place}.1": "no_transcript",
        f"{place}.2": "malformed_row",
        f"{place}.3": "malformed_row",
    }
    dropped = read("gigaspeech", root, punctuation="drop")
    assert dropped.texts["S0"] == "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE RIGHT"


def test_a_row_of_spaces_takes_no_more_time_than_one_of_words(lay, read):
    row = giga("S0", "A" + " " * 60_000 + "B <COMMA>  C <PERIOD>")
    start = time.process_time()
    audios = [{"path": "a.opus", "aid": "a", "segments": [row]}]
    found = read("gigaspeech", lay({"GigaSpeech.json": json.dumps({"audios": audios})}))
    assert time.process_time() - start < 5  # with a pattern that tries all of them from each, forty
    assert found.said["S0"].text == "A" + " " * 60_000 + "B,  C."


def test_a_value_beyond_the_limit_is_not_parsed_whatever_it_was_read_with(lay, read, monkeypatch):
    monkeypatch.setattr(json_stream, "MOST_ITEM_CHARACTERS", 3 << 20)
    items = ",".join(["{}"] * (4 << 18))  # 3 MiB
    body = '{"audios":[[' + items + "]," + json.dumps(wenet("a", wenet_part("a0"))) + "]}"
    found = read("wenetspeech", lay({"WenetSpeech.json": body}))
    (problem,) = found.problems.values()
    assert found.said == {} and problem.limit == 3 << 20
    assert "what follows in the file is not read" in problem.detail
