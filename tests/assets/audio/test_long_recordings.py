"""audio_22k of segments of long recordings: each recording decoded once, and never held."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from assets.audio import despite
from assets.audio.segments import Segment
from assets.audio.work import Recording, SourceTask, do_source
from validation.digests import digest_bytes
from validation.ledger import balance, read_ledger

RATE = 16_000


def kaldi(root: Path, make, seconds: int, segments: list[tuple[float, float]], suffix: str = ".flac"):
    """One recording with segments."""
    root.mkdir(parents=True, exist_ok=True)
    sf.write(root / f"long{suffix}", make.speech_like(seconds, RATE), RATE)
    (root / "wav.scp").write_text(f"long long{suffix}\n")
    ids = [f"u{n:03d}" for n in range(len(segments))]
    rows = zip(ids, segments, strict=True)
    (root / "segments").write_text("".join(f"{name} long {start} {end}\n" for name, (start, end) in rows))
    (root / "text").write_text("".join(f"{name} hello there\n" for name in ids))
    return make.entry("kaldi", root)


def reasons(lake) -> dict[str, str]:
    return dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows())


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_each_segment_is_a_file_with_measures_of_its_own(tmp_path, lake, make, suffix):
    parts = [(0.0, 1.0), (2.5, 4.0), (3.5, 5.25)]
    make.run_all(kaldi(tmp_path / "c", make, 8, parts, suffix), lake)
    audio = lake.read_table("audio_22k", "made")
    assert audio["duration_s"].round(3).to_list() == [1.0, 1.5, 1.75]
    assert audio["audio_path"].n_unique() == 3
    assert lake.read_table("audio_quality", "made")["level_dbfs"].n_unique() == 3
    assert lake.read_manifest("audio_22k", "made")["summary"]["files_done"] == 1
    assert balance(lake, "made").holds and set(reasons(lake).values()) == {"accepted"}
    raw = lake.read_table("raw_utterances", "made")
    assert raw["source_digest"].n_unique() == 1
    assert raw["audio_bytes"].to_list() == [(tmp_path / "c" / f"long{suffix}").stat().st_size] * 3


def test_segments_that_are_none_are_rows_of_the_ledger_with_both_numbers(tmp_path, lake, make):
    parts = [(0.0, 1.0), (7.0, 9.5), (9.0, 10.0), (3.0, 3.0), (4.0, 2.0)]
    make.run_all(kaldi(tmp_path / "c", make, 8, parts), lake)
    rows = {row["utterance_id"]: row for row in read_ledger(lake, "made").iter_rows(named=True)}
    assert [rows[f"u{n:03d}"]["reason"] for n in range(5)] == ["accepted", *["bad_segment"] * 4]
    assert [(rows[name]["value"], rows[name]["limit"]) for name in ("u001", "u002", "u003", "u004")] == [
        (9.5, 8.0),
        (10.0, 8.0),
        (3.0, 3.0),
        (2.0, 4.0),
    ]
    assert "7.000 s to 9.500 s does not lie in the file's 8.000 s" in rows["u001"]["detail"]
    assert balance(lake, "made").holds


def test_only_segments_that_are_new_are_done(tmp_path, lake, make):
    entry = kaldi(tmp_path / "c", make, 8, [(0.0, 1.0), (2.0, 3.0)])
    make.run_all(entry, lake)
    before = make.files_of(Path(lake.root))
    kaldi(tmp_path / "c", make, 8, [(0.0, 1.0), (2.0, 3.5), (4.0, 5.0)])
    make.run_all(entry, lake)
    assert lake.read_manifest("audio_22k", "made")["summary"]["reused"] == 1
    assert [round(one, 2) for one in lake.read_table("audio_22k", "made")["duration_s"]] == [1.0, 1.5, 1.0]
    kaldi(tmp_path / "c", make, 8, [(0.0, 1.0), (2.0, 3.0)])
    make.run_all(entry, lake)
    after = make.files_of(Path(lake.root))
    tables = {name for name in before if name.startswith(("tables/", "jsonl/"))}
    assert {name: after[name] for name in tables} == {name: before[name] for name in tables}


def task_of(lake, path: Path, segments: list[Segment]) -> SourceTask:
    data = path.read_bytes()
    recording = Recording(str(path), None, len(data), digest_bytes(data), None, tuple(segments))
    return SourceTask(lake.url, "made", (recording,))


def test_a_long_recording_is_opened_once_and_never_held(tmp_path, lake, monkeypatch):
    monkeypatch.setattr("assets.audio.source_file.IN_MEMORY_BYTES", 1 << 20)
    opened = []
    really = despite.open_source
    monkeypatch.setattr(despite, "open_source", lambda *args: opened.append(args[1]) or really(*args))
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, RATE * 60).astype(np.float32)
    with sf.SoundFile(tmp_path / "long.flac", "w", RATE, 1) as file:
        for _ in range(20):
            file.write(noise)
    do_source(task_of(lake, tmp_path / "long.flac", [Segment(0.0, 1.0)]))  # imports scipy.signal
    opened.clear()
    segments = [Segment(float(start), start + 5.0) for start in range(0, 1_195, 3)]  # which overlap
    task = task_of(lake, tmp_path / "long.flac", segments)
    tracemalloc.start()
    (results,) = do_source(task)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(opened) == 1
    assert all(result.stored.frames == 5 * 22_050 for result in results)
    # The file has 27 MB, its samples 77 MB; a segment and what is made of it take a few MB.
    assert peak < 6e6, peak
