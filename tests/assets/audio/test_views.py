"""Two rates from one source: the view at 16 kHz is made from the recording, never from its stored form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from assets.audio import listening
from assets.audio.listening import ListenTask, do_listen
from assets.audio.resample import make_audio_22k
from assets.audio.segments import Segment
from assets.audio.work import Recording
from assets.corpora.ingest import ingest
from validation.digests import digest_bytes
from validation.listening.config import ModelMeasures
from validation.listening.listener import Listened

VIEW = {"audio": {"view_16k": True}}


def real(make) -> dict[str, Path]:
    """Real speech at rates above, at and below that of the view, and 16 kHz speech that was resampled to 44.1."""
    formats = make.shared("formats")
    found = {}
    for path in sorted(formats.rglob("*.wav")) + sorted(formats.rglob("*.flac")):
        info = sf.info(path)
        if info.channels == 1 and info.subtype in ("PCM_16", "PCM_24"):
            found.setdefault(str(info.samplerate), path)
    found["upsampled"] = make.shared("quality") / "degraded" / "367-130732-0001_fakehires44k1.wav"
    return found


def test_the_view_is_the_source_at_16_khz_and_not_the_stored_form(tmp_path, lake, make):
    sources = real(make)
    assert {"8000", "22050", "44100", "48000", "upsampled"} <= set(sources)
    root = tmp_path / "c"
    root.mkdir()
    for name, path in sources.items():
        (root / f"{name}{path.suffix}").write_bytes(path.read_bytes())
    entry = make.entry("untranscribed", root, options={"purpose": "tokenizer"}, **VIEW)
    ingest(entry, lake)
    make_audio_22k(entry, lake, workers=1)
    for row in lake.read_table("audio_22k", "made").iter_rows(named=True):
        samples, rate = sf.read(root / row["utterance_id"], dtype="float32")
        view, view_rate = sf.read(lake.uri(row["view_path"]), dtype="int16")
        assert view_rate == 16_000 and view.size == row["view_frames"]
        assert digest_bytes(view.astype("<i2").tobytes()) == row["view_digest"]
        assert row["gain_db"] == 0.0, "none of these overshoots"
        direct = 32_768 * (samples if rate == 16_000 else soxr.resample(samples, rate, 16_000, quality="HQ"))
        assert np.abs(view - direct).max() <= 0.5 + 1e-3, row["utterance_id"]
        stored, _ = sf.read(lake.uri(row["audio_path"]), dtype="float32")
        twice = 32_768 * soxr.resample(stored, 22_050, 16_000, quality="HQ")
        length = min(twice.size, view.size)
        if rate != 22_050:
            assert np.abs(view[:length] - twice[:length]).max() > 1.0, row["utterance_id"]


def test_the_view_is_made_and_made_again_with_nothing_else_changed(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")], rate=44_100)
    make.run_all(entry, lake)
    before = lake.read_table("audio_22k", "made")
    assert before["view_path"].null_count() == 2
    entry = entry.model_copy(update={"audio": type(entry.audio)(view_16k=True)})
    assert [one.recomputed for one in make.run_all(entry, lake)][:2] == [False, True]
    after = lake.read_table("audio_22k", "made")
    assert after["audio_digest"].equals(before["audio_digest"]) and after["view_path"].null_count() == 0
    accepted = lake.read_table("accepted_utterances", "made")
    assert accepted["view_digest"].to_list() == after["view_digest"].to_list()
    assert not make_audio_22k(entry, lake, workers=1).recomputed

    files = make.files_of(Path(lake.root))
    lost, cut = after["view_path"]
    Path(lake.uri(lost)).unlink()
    Path(lake.uri(cut)).write_bytes(files[cut][:-2])
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 2
    again = make.files_of(Path(lake.root))
    assert (again[lost], again[cut]) == (files[lost], files[cut])


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_models_hear_the_source_at_16_khz(tmp_path, make, monkeypatch, rate):
    path = make.speech(tmp_path / "a.wav", 2.0, rate)
    heard = []

    class Ears:
        def listen(self, samples, language):
            heard.append(samples)
            return Listened()

    monkeypatch.setattr(listening, "listener", lambda models: Ears())
    data = path.read_bytes()
    recording = Recording(str(path), None, len(data), digest_bytes(data), None, (Segment(0.5, 1.5),))
    do_listen(ListenTask(recording, ".wav", "en", ModelMeasures(), "mix"))
    samples, _ = sf.read(path, dtype="float32")
    part = samples[rate // 2 : rate // 2 + rate]
    wanted = part if rate == 16_000 else soxr.resample(part, rate, 16_000, quality="HQ")
    np.testing.assert_array_equal(heard[0], wanted)
