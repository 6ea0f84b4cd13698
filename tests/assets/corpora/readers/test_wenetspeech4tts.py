"""WenetSpeech4TTS: text files in the folder beside the audio's."""

from __future__ import annotations

PART = "Premium/WenetSpeech4TTS_Premium_9"
NAME = "X0000015306_83500032_S00110-S00112"


def test_the_published_layout_is_read_and_what_contradicts_it_is_told(lay, read):
    root = lay(
        {
            f"{PART}/wavs/{NAME}.wav": b"",
            f"{PART}/txts/{NAME}.txt": f"{NAME}\t你好，世界。\n[0.1, 0.5]\n",
            f"{PART}/wavs/other.wav": b"",
            f"{PART}/txts/other.txt": "another\t好\n",
            f"{PART}/wavs/empty.wav": b"",
            f"{PART}/txts/empty.txt": "",
            f"{PART}/wavs/alone.wav": b"",
            f"{PART}/txts/gone.txt": "gone\t好\n",
            "filelists/Premium_filelist.lst": f"{NAME} ../{PART}/wavs/{NAME}.wav\n",
            "README.txt": "not a transcript",
        }
    )
    found = read("wenetspeech4tts", root)
    row = found.said[NAME]
    assert (row.text, row.speaker) == ("你好，世界。", "unknown")
    assert dict(row.fields) == {"subset": "Premium", "recording": "X0000015306_83500032"}
    assert found.reasons == {
        f"{PART}/wavs/other.wav": "malformed_row",
        f"{PART}/wavs/empty.wav": "wrong_delimiter",
        f"{PART}/wavs/alone.wav": "no_transcript",
        f"{PART}/txts/gone.txt": "missing_audio",
    }
