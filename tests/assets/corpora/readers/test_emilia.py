"""Emilia: JSON beside the MP3 of an unpacked tar, or JSON lines of the first release."""

from __future__ import annotations

import json

NAME = "DE_B00000_S00000_W000029"


def row(name: str, **more: object) -> str:
    value = {
        "id": name,
        "wav": f"DE_B00000/DE_B00000_S00000/mp3/{name}.mp3",
        "text": " Und es gibt auch einen Stadtplan.",
        "duration": 3.228,
        "speaker": "DE_B00000_S00000",
        "language": "de",
        "dnsmos": 3.3697,
    }
    return json.dumps({**value, **more})


def test_unpacked_tars_and_json_lines_are_read(lay, read):
    root = lay(
        {
            f"DE-B000000/{NAME}.json": row(NAME),
            f"DE-B000000/{NAME}.mp3": b"",
            "DE/DE_B00000.jsonl": row("second") + "\n" + row("third", language="en") + "\n",
            "DE/DE_B00000/DE_B00000_S00000/mp3/second.mp3": b"",
        }
    )
    found = read("emilia", root)
    assert found.said[NAME].audio == f"DE-B000000/{NAME}.mp3"
    assert found.said[NAME].text == "Und es gibt auch einen Stadtplan."
    assert (found.said[NAME].speaker, found.said[NAME].language) == ("DE_B00000_S00000", "de")
    assert dict(found.said[NAME].fields) == {"dnsmos": "3.3697", "duration": "3.228"}
    assert found.said["second"].audio == "DE/DE_B00000/DE_B00000_S00000/mp3/second.mp3"
    assert found.said["third"].language == "en"
    assert not found.problems


def test_bad_json_and_audio_without_any_have_reasons(lay, read):
    yodas = json.dumps({"_id": "y", "mp3": "y.mp3", "text": "x", "speaker": "s", "language": "en"})
    root = lay(
        {
            "a.json": "{",
            "a.mp3": b"",
            "b.json": row("b", text=None),
            "c.json": b"\xff",
            "d.json": '{"id": "d"}',
            "e.json": row(""),
            "lone.mp3": b"",
            "y.json": yodas,
            "y.mp3": b"",
        }
    )
    found = read("emilia", root)
    assert list(found.said) == ["y"]
    assert found.reasons == {
        "a.json": "malformed_row",
        "b.json": "malformed_row",
        "c.json": "not_utf8",
        "d.json": "malformed_row",
        "e.json": "malformed_row",
        "lone.mp3": "no_transcript",
    }
