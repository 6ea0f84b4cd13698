"""``voxline forget`` shows before it acts; ``voxline clean`` counts before it frees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import Settings, write_settings
from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.schemas import frame_from_rows

DIGEST = "d" * 64


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose lake has two rows of two speakers, with stored audio."""
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    write_settings(home, Settings())
    lake = Lake(str(home / "lake"))
    raw, stored = [], []
    for number, speaker in enumerate(("ann", "ben")):
        row = {"corpus": "c", "utterance_id": f"u{number}"}
        told = {"source": f"rows:{number}", "split": "train", "tasks": ["asr"], "speaker": speaker}
        more = {"language": "en", "text": "words", "licence": "CC0-1.0", "cut_in_speech": False}
        raw.append({**row, **told, **more, "audio_uri": f"/c/{number}.wav", "source_digest": DIGEST})
        path = f"audio_22k/c/{number}.wav"
        with lake.atomic_write(path) as stream:
            stream.write(b"RIFF")
        audio = {"audio_path": path, "audio_digest": f"{number:064x}", "frames": 1, "duration_s": 1.0}
        source = {"source_rate_hz": 1, "source_channels": 1, "source_format": "WAV", "channels_used": [1]}
        stored.append({**row, **audio, **source, "gain_db": 0.0, "peak_dbfs": 0.0, "level_dbfs": 0.0})
    lake.write_table("raw_utterances", "c", frame_from_rows("raw_utterances", raw))
    lake.write_table("audio_22k", "c", frame_from_rows("audio_22k", stored))
    return home


def voxline(home: Path, *words: str) -> str:
    answer = CliRunner().invoke(app, [*words, "--home", str(home)])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_without_apply_it_is_shown_and_with_it_done(home: Path) -> None:
    lake = Lake(str(home / "lake"))
    shown = voxline(home, "forget", "--speaker", "ann")
    assert "rows: 1 of c" in shown
    assert "audio_22k/c/0.wav" in shown
    assert "Nothing was changed: --apply does it." in shown
    assert lake.exists("audio_22k/c/0.wav")
    done = voxline(home, "forget", "--speaker", "ann", "--apply", "--by", "eve", "--why", "a letter")
    assert "forgotten: request" in done
    assert "voxline run" in done
    assert not lake.exists("audio_22k/c/0.wav")
    assert lake.exists("audio_22k/c/1.wav")
    assert lake.read_table("raw_utterances", "c")["speaker"].to_list() == ["ben"]
    assert "by eve: a letter" in voxline(home, "forget", "--speaker", "ann")


def test_for_programs_everything_is_one_object(home: Path) -> None:
    found = json.loads(voxline(home, "forget", "--speaker", "ann", "--json"))
    assert found["rows"] == {"c": 1}
    assert {one["kind"] for one in found["holdings"]} == {
        "row",
        "stored_audio",
        "raw_utterances",
        "audio_22k",
    }
    assert found["packs"] == found["checkpoints"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give just one of --speaker, --file, --licence and --utterance"),
        (["--speaker", "ann", "--utterance", "u1"], "give just one"),
        (["--speaker", ""], "give just one"),
        (["--speaker", "unknown"], "is nobody"),
        (["--speaker", "ann", "--run"], "--run needs --apply"),
    ],
)
def test_requests_that_make_no_sense_are_refused(home: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        voxline(home, "forget", *words)


def test_unused_audio_is_counted_and_then_freed(home: Path) -> None:
    lake = Lake(str(home / "lake"))
    with lake.atomic_write("audio_22k/c/9.wav") as stream, lake.atomic_write("audio_16k/old/9.wav") as other:
        stream.write(b"RIFF")
        other.write(b"RIFF")
    assert "2 files of stored audio" in voxline(home, "clean", "--unused")
    assert lake.exists("audio_22k/c/9.wav")
    voxline(home, "clean", "--unused", "--apply")
    assert sorted(path for path, _ in lake.walk("audio_22k")) == ["audio_22k/c/0.wav", "audio_22k/c/1.wav"]
    assert "0 files" in voxline(home, "clean", "--unused")
    with pytest.raises(ConfigurationError, match="say what to clean: --unused"):
        voxline(home, "clean")
