"""audio_22k of members of tar files and of samples without a header: once each, and the same after a kill."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf
from failing_work import die_at_b

from assets.audio import audio_pass, resample
from assets.audio.resample import make_audio_22k
from assets.corpora.ingest import ingest
from validation.digests import digest_bytes
from validation.ledger import balance, read_ledger

REPOSITORY = Path(__file__).resolve().parents[3]
RATE = 16_000


def table(root: Path, make, rows: list[tuple[str, str]], **more):
    """A list of audio with texts."""
    (root / "list.csv").write_text("audio,text\n" + "".join(f"{audio},{text}\n" for audio, text in rows))
    options = {
        "file": "list.csv",
        "audio": "audio",
        "text": "text",
        "unlisted": "ignore",
        "speaker_name": "x",
    }
    return make.entry("table", root, options=options, **more)


def wav(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, RATE, format="WAV")
    return buffer.getvalue()


def tar(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            file.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def test_members_are_read_where_they_lie_and_nothing_is_unpacked(tmp_path, lake, make):
    root = tmp_path / "c"
    good = {f"a/{n}.wav": wav(make.speech_like(1.0, RATE, n)) for n in range(3)}
    more = {"cut.wav": good["a/0.wav"][:-999], "../up.wav": good["a/1.wav"], "x.txt": b"hello"}
    tar(root / "s.tar", {**good, **more}, {"l.wav": "/etc/passwd"})
    tar(root / "t.tar", {"a/0.wav": wav(make.speech_like(1.5, RATE, 9))})
    names = ["s.tar!a/2.wav", "t.tar!a/0.wav", "s.tar!a/0.wav", "s.tar!l.wav", "s.tar!cut.wav", "s.tar!gone.wav",
             "s.tar!../up.wav", "gone.tar!a.wav", "s.tar!x.txt", "s.tar!./a/1.wav"]  # fmt: skip
    before = make.files_of(tmp_path)
    make.run_all(table(root, make, [(name, "hello") for name in names]), lake)
    ledger = read_ledger(lake, "made")
    found = dict(ledger.select("source", "reason").iter_rows())
    assert [found[f"list.csv:{line}"] for line in range(2, 12)] == [
        "accepted", "accepted", "accepted", "unsafe_member", "truncated", "missing_audio",
        "unsafe_member", "missing_audio", "not_audio", "accepted",
    ]  # fmt: skip
    raw = lake.read_table("raw_utterances", "made").to_dicts()
    assert raw[0]["audio_uri"] == f"{root}/s.tar!a/2.wav"
    assert raw[0]["source_digest"] == digest_bytes(good["a/2.wav"])
    data = (root / "s.tar").read_bytes()
    for row in raw[:1] + raw[2:3]:
        member = data[row["audio_offset"] : row["audio_offset"] + row["audio_bytes"]]
        assert digest_bytes(member) == row["source_digest"]
    assert lake.read_table("audio_22k", "made")["duration_s"].round(2).to_list() == [1.0, 1.5, 1.0, 1.0]
    assert balance(lake, "made").holds
    outside = {name for name in make.files_of(tmp_path) if not name.startswith("lake/")}
    assert outside - set(before) == {"c/list.csv"}


def test_a_cut_tar_names_the_cause_of_what_is_missing(tmp_path, lake, make):
    tar(tmp_path / "c" / "s.tar", {f"{n}.wav": wav(make.speech_like(1.0, RATE, n)) for n in range(3)})
    data = (tmp_path / "c" / "s.tar").read_bytes()
    (tmp_path / "c" / "s.tar").write_bytes(data[:40_000])
    make.run_all(table(tmp_path / "c", make, [(f"s.tar!{n}.wav", "hello") for n in range(3)]), lake)
    rows = read_ledger(lake, "made").sort("source").to_dicts()
    assert [row["reason"] for row in rows] == ["accepted", "truncated", "truncated"]
    assert "ends at byte 40000" in rows[2]["detail"]


def test_a_tar_is_opened_once_for_a_run_of_its_members(tmp_path, lake, make, monkeypatch):
    tar(tmp_path / "c" / "s.tar", {f"{n}.wav": wav(make.speech_like(0.5, RATE, n)) for n in range(20)})
    names = [f"s.tar!{n}.wav" for n in range(20)]
    entry = table(tmp_path / "c", make, [(name, "hello") for name in [*names[10:], *names[:10]]])
    ingest(entry, lake)
    tasks = []

    def here(function, found, workers, limit_s):
        for task in found:
            tasks.append(task)
            yield task, function(task)

    monkeypatch.setattr(audio_pass, "map_surviving", here)
    make_audio_22k(entry, lake, workers=2)
    (task,) = tasks
    offsets = [recording.offset for recording in task.recordings]
    assert len(offsets) == 20 and offsets == sorted(offsets)
    assert lake.read_table("audio_22k", "made").height == 20


@pytest.mark.timeout(120)
def test_a_member_that_kills_its_worker_takes_no_other_with_it(tmp_path, lake, make, monkeypatch):
    names = ("c", "d", "b", "e")
    members = {f"{name}.wav": wav(make.speech_like(0.5, RATE, seed)) for seed, name in enumerate(names)}
    tar(tmp_path / "c" / "s.tar", members)
    entry = table(tmp_path / "c", make, [(f"s.tar!{name}.wav", "hello") for name in names])
    ingest(entry, lake)
    monkeypatch.setattr(resample, "do_source", die_at_b)
    make_audio_22k(entry, lake, workers=1)
    (row,) = read_ledger(lake, "made").to_dicts()
    assert (row["source"], row["reason"]) == ("list.csv:4", "worker_died")
    assert lake.read_table("audio_22k", "made").height == 3


def test_samples_without_a_header_are_what_the_entry_declares(tmp_path, lake, make):
    root = tmp_path / "c"
    root.mkdir()
    speech = make.speech_like(1.0, 8_000)
    (root / "a.raw").write_bytes((speech * 32_767).astype(">i2").tobytes())
    (root / "odd.raw").write_bytes((speech * 32_767).astype(">i2").tobytes()[:-1])
    make.speech(root / "wrong.raw.wav").rename(root / "wrong.raw")
    make.speech(root / "b.wav")
    rows = [(name, "hello") for name in ("a.raw", "odd.raw", "wrong.raw", "b.wav")]
    make.run_all(table(root, make, rows, raw_format="s16be/8000"), lake)
    found = dict(read_ledger(lake, "made").select("source", "reason").iter_rows())
    assert [found[f"list.csv:{line}"] for line in range(2, 6)] == [
        "accepted", "truncated", "wrong_extension", "accepted",
    ]  # fmt: skip
    first = lake.read_table("audio_22k", "made").row(0, named=True)
    assert (first["source_rate_hz"], first["source_format"]) == (8_000, "RAW/PCM_16")
    # Another declaration is another recording, though not a byte of it has changed.
    make.run_all(table(root, make, rows, raw_format="s16be/16000"), lake)
    assert lake.read_table("audio_22k", "made")["source_rate_hz"].to_list() == [16_000, 16_000]
    assert lake.read_manifest("audio_22k", "made")["summary"]["reused"] == 1


def test_a_raw_format_that_is_none_is_refused_in_the_entry(tmp_path, make):
    with pytest.raises(ValueError, match=r"encoding/rate/channels"):
        make.entry("untranscribed", tmp_path, options={"purpose": "tokenizer"}, raw_format="16 kHz")


PROGRAM = """
    import sys
    from assets.audio import resample, results
    from assets.audio.resample import make_audio_22k
    from assets.corpora.config import CorpusEntry
    from validation.lake import Lake

    if __name__ == "__main__":
        results.AudioResults.__init__.__defaults__ = (4,)
        flush = results.ResultParts.flush

        def flush_and_say(self):
            flush(self)
            print(self._written, flush=True)
            sys.stdin.read()  # until it is killed

        results.ResultParts.flush = flush_and_say
        entry = CorpusEntry.model_validate_json(sys.argv[1])
        make_audio_22k(entry, Lake(sys.argv[2]), workers=2)
"""


@pytest.mark.timeout(240)
def test_a_killed_pass_over_segments_members_and_raw_samples_continues_to_the_same_bytes(
    tmp_path, lake, make
):
    root = tmp_path / "c"
    for name in ("one", "two"):
        tar(root / f"{name}.tar", {f"{n}.flac": flac(make.speech_like(0.5, RATE, n)) for n in range(90)})
    rows = [(f"{name}.tar!{n}.flac", "hello") for name in ("one", "two") for n in range(90)]
    for n in range(4):
        (root / f"{n}.raw").write_bytes((make.speech_like(0.5, RATE, n) * 9_999).astype("<i2").tobytes())
        rows.append((f"{n}.raw", "hello"))
    entry = table(root, make, rows, raw_format="s16le/16000/1")
    ingest(entry, lake)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), json.dumps(entry.model_dump(mode="json")), lake.root]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and int(process.stdout.readline()) >= 4
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    known = make.rows_of(Path(lake.root, "work/audio_22k/made"))
    assert 4 <= known < len(rows)
    assert make_audio_22k(entry, lake, workers=2).summary["reused"] == known
    whole = type(lake)(str(tmp_path / "undisturbed"))
    ingest(entry, whole)
    make_audio_22k(entry, whole, workers=2)
    manifest = "manifests/audio_22k/made.json"  # counts what was reused, so differs by its nature
    continued, undisturbed = (
        {name: data for name, data in make.files_of(Path(one.root)).items() if name != manifest}
        for one in (lake, whole)
    )
    assert continued == undisturbed


def flac(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, RATE, format="FLAC")
    return buffer.getvalue()
