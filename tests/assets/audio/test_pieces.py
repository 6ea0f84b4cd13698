"""Long recordings cut at pauses: real speech with known pauses, every second accounted for, the same after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import psutil
import pytest
import soundfile as sf
from scipy.signal import butter, sosfilt

from assets.audio import cut as cutting
from assets.audio.resample import make_audio_22k
from assets.corpora.ingest import ingest
from assets.corpora.training_jsonl import jsonl_path
from validation.ledger import balance, read_ledger

REPOSITORY = Path(__file__).resolve().parents[3]
RATE = 16_000
PAUSES_S = (0.5, 0.8, 1.5, 4.0, 9.0)


@pytest.fixture(scope="module")
def speech(make) -> list[np.ndarray]:
    """LibriSpeech's test utterances of six readers."""
    paths = sorted(make.shared("librispeech").rglob("*.flac"))
    return [sf.read(path, dtype="float32")[0] for path in paths[:45]]


def spoken(path: Path, utterances: list[np.ndarray], seed: int = 0) -> SimpleNamespace:
    """The utterances in one recording, pauses of room tone between them; where each lies, in seconds."""
    rng = np.random.default_rng(seed)
    parts, places, position = [], [], 0
    for utterance in utterances:
        pause = round(float(rng.choice(PAUSES_S)) * RATE)
        parts += [1e-4 * rng.standard_normal(pause), utterance]
        places.append(((position + pause) / RATE, (position + pause + utterance.size) / RATE))
        position += pause + utterance.size
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.concatenate(parts)
    sf.write(path, samples, RATE, subtype="PCM_16")
    return SimpleNamespace(samples=samples.astype(np.float32), places=places, seconds=samples.size / RATE)


def entry_of(make, root: Path, **more):
    values = {"options": {"purpose": "tokenizer"}, "segmentation": {}, **more}
    return make.entry("untranscribed", root, **values)


def loudness_10ms(samples: np.ndarray) -> np.ndarray:
    """Power of each 10 ms between 200 Hz and 4 kHz: rumble is no speech."""
    band = sosfilt(butter(4, [200, 4_000], "band", fs=RATE, output="sos"), samples)
    return np.square(band[: band.size // 160 * 160]).reshape(-1, 160).mean(axis=1)


def thresholds(power: np.ndarray, places) -> list[tuple[int, int, float]]:
    """First and last 10 ms of each utterance, and what of it is speech: within 25 dB, and 10 dB above its noise."""
    found = []
    for start_s, end_s in places:
        first, end = int(100 * start_s), int(100 * end_s)
        ordered = np.sort(power[first:end])
        loud, quiet = ordered[int(0.95 * ordered.size)], ordered[int(0.05 * ordered.size)]
        found.append((first, end, max(loud * 10**-2.5, quiet * 10)))
    return found


@pytest.mark.timeout(300)
def test_real_speech_is_cut_in_its_pauses_and_all_of_it_is_kept(tmp_path, lake, make, speech):
    root = tmp_path / "talks"
    talks = {
        name: spoken(root / name, speech[n::3], n) for n, name in enumerate(("a.flac", "b.flac", "c.wav"))
    }
    entry = entry_of(make, root)
    make.run_all(entry, lake, workers=2)
    raw = lake.read_table("raw_utterances", "made")
    lengths = raw["segment_end_s"] - raw["segment_start_s"]
    assert lengths.min() >= 3.0 - 1e-3 and lengths.max() <= 30.0
    cuts = inside = spoken_10ms = kept_10ms = 0
    for name, talk in talks.items():
        power = loudness_10ms(talk.samples)
        utterances = thresholds(power, talk.places)
        pieces = raw.filter(pl.col("parent_id") == name).select("segment_start_s", "segment_end_s").rows()
        kept = np.zeros(power.size, dtype=bool)
        for start_s, end_s in pieces:
            kept[int(100 * start_s) : int(np.ceil(100 * end_s))] = True
            for place in (int(100 * start_s), int(100 * end_s)):
                cuts += 1
                for first, end, threshold in utterances:
                    around = power[max(place - 2, 0) : place + 3]
                    inside += bool(first + 2 <= place < end - 2 and around.max() > threshold)
        for first, end, threshold in utterances:
            is_speech = power[first:end] > threshold
            spoken_10ms += int(is_speech.sum())
            kept_10ms += int((is_speech & kept[first:end]).sum())
    assert inside <= 0.05 * cuts, (inside, cuts)
    assert kept_10ms >= 0.99 * spoken_10ms, (kept_10ms, spoken_10ms)

    told = lake.read_table("recordings", "made")
    assert told["utterance_id"].to_list() == list(talks)
    assert told["pieces"].sum() == raw.height and told["cut_in_speech"].sum() == raw["cut_in_speech"].sum()
    for row in told.iter_rows(named=True):
        assert row["duration_s"] == pytest.approx(talks[row["utterance_id"]].seconds, abs=1e-3)
        assert row["pieces_s"] + row["left_out_s"] == pytest.approx(row["duration_s"], abs=1e-6)
        assert 0.5 * row["duration_s"] < row["speech_s"] <= row["pieces_s"]
    found = balance(lake, "made")
    assert found.holds and found.read == raw.height
    # Nobody says what is said: the pieces are for the tokenizer, and become no training row.
    assert set(raw["text"]) == {""} and raw["tasks"].to_list() == [["audio"]] * raw.height
    assert not Path(lake.uri(jsonl_path("made", "train"))).read_bytes()


def test_a_recording_is_decoded_once_and_its_pieces_are_those_that_cutting_again_gives(
    tmp_path, lake, make, speech, monkeypatch
):
    spoken(tmp_path / "c" / "talk.flac", speech[:6])
    entry = entry_of(make, tmp_path / "c")
    ingest(entry, lake)
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 0
    first = lake.read_table("audio_22k", "made")
    for path in first["audio_path"]:
        Path(lake.uri(path)).unlink()
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 1
    assert lake.read_table("audio_22k", "made").equals(first)
    # Another loudness is another sound of the same pieces.
    louder = entry_of(make, tmp_path / "c", audio={"loudness": {"method": "r128", "target": -20}})
    assert not ingest(louder, lake).recomputed
    assert make_audio_22k(louder, lake, workers=1).recomputed
    again = lake.read_table("audio_22k", "made")
    assert again["utterance_id"].to_list() == first["utterance_id"].to_list()
    assert again["gain_db"].abs().min() > 0


def test_a_word_alone_gets_the_pause_around_it_and_what_says_nothing_is_a_row(tmp_path, lake, make, speech):
    root = tmp_path / "c"
    word = speech[0][: round(1.0 * RATE)]
    room = 1e-4 * np.random.default_rng(0).standard_normal(20 * RATE)
    root.mkdir()
    sf.write(root / "alone.wav", np.concatenate((room, word, room)), RATE)
    sf.write(root / "nobody.wav", room, RATE)
    sf.write(root / "short.wav", word, RATE)
    (root / "broken.wav").write_bytes((root / "alone.wav").read_bytes()[:-9_999])
    entry = entry_of(make, root)
    make.run_all(entry, lake)
    raw = lake.read_table("raw_utterances", "made").select("utterance_id", "segment_start_s", "segment_end_s")
    (alone, *bounds), short = raw.rows()
    assert alone == "alone.wav#0001" and bounds[0] < 20 < 21 < bounds[1]
    assert bounds[1] - bounds[0] == pytest.approx(3.0, abs=0.01)
    # A recording that is shorter than a piece is the piece that it is.
    assert short[0] == "short.wav#0001" and short[2] - short[1] <= 1.0
    ledger = read_ledger(lake, "made")
    ended = {row["utterance_id"]: row for row in ledger.iter_rows(named=True)}
    assert ended["nobody.wav"]["reason"] == "no_speech" and ended["broken.wav"]["reason"] == "truncated"
    assert "no speech in its 20.0 s" in ended["nobody.wav"]["detail"]
    found = balance(lake, "made")
    assert found.holds and found.read == 4


def test_speech_without_a_pause_is_cut_at_its_quietest_place_and_says_so(tmp_path, lake, make, speech):
    # Sentences without their beginnings and ends follow one another without a pause.
    dense = np.concatenate([one[RATE // 2 : -RATE // 2] for one in speech[:12]])
    (tmp_path / "c").mkdir()
    sf.write(tmp_path / "c" / "talk.flac", dense, RATE)
    entry = entry_of(make, tmp_path / "c", segmentation={"pause_s": 2.0, "max_s": 10.0})
    make.run_all(entry, lake)
    raw = lake.read_table("raw_utterances", "made")
    assert raw["cut_in_speech"].sum() >= 6
    lengths = raw["segment_end_s"] - raw["segment_start_s"]
    assert lengths.min() >= 3.0 - 1e-3 and lengths.max() <= 10.0
    power = loudness_10ms(dense)
    loud = np.sort(power)[int(0.95 * power.size)]
    ends = raw.filter("cut_in_speech")["segment_end_s"].to_list()[:-1]
    assert np.median([power[int(100 * end)] for end in ends]) < 10**-2 * loud


def test_each_channel_of_a_call_is_a_speaker_of_its_own(tmp_path, lake, make, speech):
    root = tmp_path / "c"
    one, other = spoken(tmp_path / "x.wav", speech[:3]), spoken(tmp_path / "y.wav", speech[5:8], 1)
    length = max(one.samples.size, other.samples.size)
    call = np.stack([np.pad(talk.samples, (0, length - talk.samples.size)) for talk in (one, other)], axis=1)
    root.mkdir()
    sf.write(root / "call.wav", call, RATE)
    sf.write(root / "mono.wav", one.samples, RATE)
    whole = entry_of(make, root, segmentation=None, audio={"channels": "split"})
    make.run_all(whole, lake)
    audio = lake.read_table("audio_22k", "made")
    assert audio["utterance_id"].to_list() == ["call.wav#ch1", "call.wav#ch2", "mono.wav"]
    assert audio["channels_used"].to_list() == [[1], [2], [1]]
    assert audio["audio_digest"].n_unique() == 2 and balance(lake, "made").holds  # mono.wav is ch1
    assert balance(lake, "made").read == 3

    pieces = entry_of(make, root, audio={"channels": "split"})
    make.run_all(pieces, lake)
    ids = lake.read_table("raw_utterances", "made")["utterance_id"].to_list()
    assert ids[0] == "call.wav#ch1#0001" and "call.wav#ch2#0001" in ids and "mono.wav#0001" in ids
    assert len(set(ids)) == len(ids) and balance(lake, "made").holds
    told = lake.read_table("recordings", "made")
    assert told.select("channels", "lanes").rows() == [(2, 2), (1, 1)]


def test_a_long_recording_is_cut_in_little_memory(tmp_path, lake, make, speech, monkeypatch):
    monkeypatch.setattr("assets.audio.source_file.IN_MEMORY_BYTES", 1 << 20)
    (tmp_path / "c").mkdir()
    minutes = np.concatenate([np.concatenate((one, np.zeros(RATE))) for one in speech[:8]])
    with sf.SoundFile(tmp_path / "c" / "long.flac", "w", RATE, 1) as file:
        for _ in range(4):
            file.write(minutes)
    entry = entry_of(make, tmp_path / "c", segmentation={"max_s": 10.0})
    ingest(entry, lake)
    digest = lake.read_table("raw_utterances", "made")["source_digest"][0]
    path = tmp_path / "c" / "long.flac"
    recording = cutting.Recording(str(path), None, path.stat().st_size, digest, None, ())
    tracemalloc.start()
    (found,) = cutting.do_cut(entry.segmentation, cutting.SourceTask(lake.url, "made", (recording,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.duration_s == pytest.approx(4 * minutes.size / RATE) and len(found.pieces) > 30
    # Its samples are 17 MB; those of four pieces are held, at most, and what is made of one.
    assert 4 * 4 * minutes.size > 1.6e7 and peak < 8e6, peak


PROGRAM = """
    import sys
    from assets.audio import parts
    from assets.corpora.config import CorpusEntry
    from assets.corpora.ingest import ingest
    from validation.lake import Lake

    if __name__ == "__main__":
        flush = parts.Parts.flush

        def flush_and_say(self):
            flush(self)
            print("flushed", flush=True)
            sys.stdin.readline()  # the second time until it is killed

        parts.Parts.flush = flush_and_say
        from assets.audio import pieces
        pieces._BATCH = 1
        ingest(CorpusEntry.model_validate_json(sys.argv[1]), Lake(sys.argv[2]), workers=1)
"""


@pytest.mark.timeout(300)
def test_a_killed_run_goes_on_from_the_recordings_that_are_cut(tmp_path, lake, make, speech):
    for n in range(5):
        spoken(tmp_path / "c" / f"{n}.flac", speech[2 * n : 2 * n + 2], n)
    entry = entry_of(make, tmp_path / "c")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [
        sys.executable,
        str(program),
        json.dumps(entry.model_dump(mode="json", exclude_unset=True)),
        lake.root,
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "flushed\n"
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert process.stdout.readline() == "flushed\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert not lake.has_table("raw_utterances", "made")
    known = make.rows_of(Path(lake.root, "work/pieces/made"))
    assert 1 <= known < 5
    make.run_all(entry, lake)
    whole = type(lake)(str(tmp_path / "undisturbed"))
    make.run_all(entry, whole)
    kinds = ("tables/", "jsonl/", "work/pieces")
    continued, undisturbed = (
        {name: data for name, data in make.files_of(Path(one.root)).items() if name.startswith(kinds)}
        for one in (lake, whole)
    )
    assert list(continued) == list(undisturbed)
    different = [name for name in continued if continued[name] != undisturbed[name]]
    assert all("ledger_history" in name for name in different), different
