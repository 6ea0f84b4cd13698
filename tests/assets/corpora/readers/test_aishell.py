"""AISHELL-1 and AISHELL-3: characters without the spaces and pinyin between them."""

from __future__ import annotations

import pytest

FIRST, SECOND = "BAC009S0002W0122", "BAC009S0724W0121"


@pytest.fixture
def aishell1(lay):
    lines = f"{FIRST} 而 对 楼市 成交\n{SECOND} 用 A P P 的 人 5 G\nBAC009S0002W0999 没 有\nodd 一\n{FIRST[:-1]}3\n"
    return lay(
        {
            "transcript/aishell_transcript_v0.8.txt": lines,
            f"wav/train/S0002/{FIRST}.wav": b"",
            f"wav/train/S0002/{FIRST[:-1]}3.wav": b"",
            f"wav/dev/S0724/{SECOND}.wav": b"",
            "wav/train/S0002/BAC009S0002W0500.wav": b"",
        }
    )


def test_aishell1_joins_characters_and_finds_the_split(aishell1, read):
    found = read("aishell1", aishell1)
    assert found.texts == {
        FIRST: "而对楼市成交",
        SECOND: "用A P P的人5 G",
        "BAC009S0002W0999": "没有",
        "BAC009S0002W0123": "",
    }
    row = found.said[SECOND]
    assert (row.speaker, row.audio) == ("S0724", f"wav/dev/S0724/{SECOND}.wav")
    assert dict(row.fields) == {"subset": "dev"}
    assert found.said["BAC009S0002W0999"].audio == "wav/S0002/BAC009S0002W0999.wav"
    assert found.reasons == {
        "transcript/aishell_transcript_v0.8.txt:4": "unmatched_name",
        "wav/train/S0002/BAC009S0002W0500.wav": "no_transcript",
    }


def test_aishell1_can_leave_the_spaces(aishell1, read):
    assert read("aishell1", aishell1, keep_spaces=True).texts[FIRST] == "而 对 楼市 成交"


@pytest.mark.parametrize("text", ["content", "label"])
def test_real_aishell3_is_the_same_from_either_list(make, read, text):
    found = read("aishell3", make.shared("aishell3/AISHELL-3"), text=text)
    assert len(found.said) == 20
    row = found.said["SSB00160485"]
    assert (row.text, row.speaker) == ("伦敦位列众城市之首", "SSB0016")
    assert (row.audio, dict(row.fields)) == ("train/wav/SSB0016/SSB00160485.wav", {"subset": "train"})
    assert not found.problems


def test_aishell3_lines_of_another_form_have_reasons(lay, read):
    lines = (
        "# comment\nSSB00050001.wav\t广 guang3 州\nSSB00050002.wav\tguang3 广\nx.wav\t广 guang3\n"
        "SSB00050003.wav 广 guang3\n"
    )
    root = lay(
        {
            "test/content.txt": lines,
            "test/wav/SSB0005/SSB00050001.wav": b"",
            "test/wav/SSB0005/SSB00050009.wav": b"",
        }
    )
    assert read("aishell3", root).reasons == {
        "test/content.txt:2": "malformed_row",
        "test/content.txt:3": "malformed_row",
        "test/content.txt:4": "unmatched_name",
        "test/content.txt:5": "wrong_delimiter",
        "test/wav/SSB0005/SSB00050009.wav": "no_transcript",
    }
