"""Audio files by the names that texts give them: which is meant, and what is said of those that nobody names."""

from __future__ import annotations

from assets.corpora.recordings import Recordings, audio_at
from assets.corpora.root import CorpusRoot


def test_files_that_no_row_names_are_told_without_asking_for_every_extension(lay, monkeypatch):
    names = ["a.wav", "b.Wav", "c.flac", "c.mp3", "c.1.wav"]
    root = CorpusRoot(str(lay(dict.fromkeys(names, b""))))
    recordings = Recordings(root)
    asked: list[str] = []
    really = root.files._all
    monkeypatch.setattr(root.files, "_all", lambda *args: asked.append("") or really(*args))
    monkeypatch.setattr(root.files, "_one", lambda *args: asked.append("") or (0, "", 1, 0))
    found = {problem.source: problem.reason for problem in recordings.rows("no row")}
    assert found == {**dict.fromkeys(names, "no_transcript"), "c.mp3": "duplicate_id"}
    assert len(asked) <= 2 * len(names)


def test_a_recording_is_found_however_its_extension_is_written(lay):
    root = CorpusRoot(str(lay(dict.fromkeys(("a.Wav", "b.WAV", "b.wav", "b.mp3"), b""))))
    assert [audio_at(root, stem) for stem in "abc"] == ["a.Wav", "b.wav", None]
    assert audio_at(root, "b", ".mp3") == "b.mp3"
