"""Recordings brought to one loudness: by as much as is allowed, at both rates alike, and never clipped."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from assets.audio.loudness import gain_of, true_peak_dbfs
from assets.audio.resample import make_audio_22k
from assets.audio.settings import AudioSettings, Loudness
from assets.audio.write import render
from assets.corpora.ingest import ingest
from validation.measures import measure
from validation.signal.loudness import loudness_lufs

R128 = {"method": "r128", "target": -23.0, "max_gain_db": 20.0}


def rendered(samples, rate, **settings):
    made = AudioSettings(view_16k=True, loudness=Loudness(**{**R128, **settings}))
    return render(samples, rate, made, measure(samples, rate))


def peak_dbfs(pcm) -> float:
    return 20 * np.log10(np.abs(pcm.astype(np.float64)).max() / 32_768)


def test_real_recordings_reach_the_target_or_what_keeps_them_from_it(tmp_path, lake, make):
    entry = make.entry(
        "sidecar", make.shared("fleurs_sidecar"), audio={"view_16k": True, "loudness": R128}, options={}
    )
    ingest(entry, lake)
    make_audio_22k(entry, lake, workers=2)
    rows = lake.read_table("audio_22k", "made").to_dicts()
    assert len(rows) == 30 and {row["loudness_by"] for row in rows} <= {"r128", "rms"}
    limits = {row["gain_limit"] for row in rows}
    # Several of them are at -60 dBFS, beyond 20 dB of amplification.
    assert {"target", "max_gain"} <= limits
    for row in rows:
        source, rate = sf.read(row_source(make, row), dtype="float32")
        for path in (row["audio_path"], row["view_path"]):
            stored, stored_hz = sf.read(lake.uri(path), dtype="float32")
            highest = max(-1.0, true_peak_dbfs(source, rate))
            assert 20 * np.log10(np.abs(stored).max()) <= highest + 0.01
            if row["gain_limit"] == "target" and row["loudness_by"] == "r128":
                assert loudness_lufs(stored, stored_hz) == pytest.approx(-23.0, abs=0.3)
            else:
                assert (loudness_lufs(stored, stored_hz) or -99) < -23.0
        assert row["gain_db"] <= 20.0
        if row["gain_limit"] == "max_gain":
            assert row["gain_db"] == 20.0


def row_source(make, row):
    (path,) = make.shared("fleurs_sidecar").rglob(f"{row['utterance_id'].rsplit('/', 1)[-1]}.ogg")
    return path


def test_loud_recordings_are_made_softer_by_all_that_is_wanted(make):
    loud = 1.9 * make.speech_like(3.0, 16_000)
    found = rendered(loud, 16_000, target=-40.0, max_gain_db=3.0)
    assert found.gain.gain_limit == "target" and found.gain.gain_db < -15
    assert loudness_lufs(found.stored_N / np.float32(32_768), 22_050) == pytest.approx(-40.0, abs=0.3)


def test_amplification_ends_where_the_true_peak_would_pass_minus_one(make):
    rate = 16_000
    soft = 0.02 * make.speech_like(3.0, rate)
    soft[8_000] = 0.3  # a click
    found = rendered(soft, rate, target=-10.0, max_gain_db=40.0)
    assert found.gain.gain_limit == "peak"
    assert max(peak_dbfs(found.stored_N), peak_dbfs(found.view_N)) <= -1.0 + 0.01
    assert max(peak_dbfs(found.stored_N), peak_dbfs(found.view_N)) >= -4.0
    # One that is above that by itself keeps its gain.
    soft[8_000] = 0.95
    assert rendered(soft, rate, target=-10.0).gain.gain_db == 0.0


def test_the_waveform_between_two_samples_counts(make):
    # A tone of a quarter of the rate whose samples all lie beside its peaks, 3 dB below them.
    rate = 48_000
    tone = (0.1 * np.sin(np.pi / 4 + np.pi / 2 * np.arange(2 * rate))).astype(np.float32)
    assert true_peak_dbfs(tone, rate) == pytest.approx(-20.0, abs=0.2)
    assert 20 * np.log10(np.abs(tone).max()) == pytest.approx(-23.0, abs=0.1)
    wanted = Loudness(method="rms", target=-5.0, max_gain_db=60.0)
    gain = gain_of(measure(tone, rate), wanted, lambda: true_peak_dbfs(tone, rate))
    assert gain.gain_db == pytest.approx(18.0, abs=0.2) and gain.gain_limit == "target"
    wanted = wanted.model_copy(update={"target": -2.0})
    gain = gain_of(measure(tone, rate), wanted, lambda: true_peak_dbfs(tone, rate))
    assert gain.gain_db == pytest.approx(19.0, abs=0.2) and gain.gain_limit == "peak"


@pytest.mark.parametrize(
    ("seconds", "amplitude", "by"), [(0.3, 0.05, "rms"), (0.5, 0.05, "r128"), (2.0, 3e-4, "rms")]
)
def test_what_has_no_integrated_loudness_is_measured_by_its_power_and_says_so(make, seconds, amplitude, by):
    found = rendered(amplitude * make.speech_like(seconds, 16_000), 16_000, max_gain_db=60.0)
    assert found.gain.loudness_by == by
    if found.gain.gain_limit == "target" and by == "rms":
        stored = found.stored_N / np.float32(32_768)
        assert measure(stored, 22_050).level_dbfs == pytest.approx(-23.0, abs=0.3)


def test_silence_stays_what_it_is():
    found = rendered(np.zeros(16_000, dtype=np.float32), 16_000)
    assert (found.gain.gain_db, found.gain.gain_limit) == (0.0, "silence") and not found.stored_N.any()


def test_the_gain_of_both_rates_is_one(make):
    found = rendered(make.speech_like(3.0, 44_100), 44_100, target=-30.0)
    plain = render(
        make.speech_like(3.0, 44_100),
        44_100,
        AudioSettings(view_16k=True),
        measure(make.speech_like(3.0, 44_100), 44_100),
    )
    ratio = 10 ** (found.gain.gain_db / 20)
    for one, other in ((found.stored_N, plain.stored_N), (found.view_N, plain.view_N)):
        assert np.abs(one - ratio * other).max() <= 1.0
    # A float recording above full scale: both are made softer by what the higher one needs.
    high = (3.0 * np.sign(np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000))).astype(np.float32)
    found = render(high, 16_000, AudioSettings(view_16k=True), measure(high, 16_000))
    assert found.gain.gain_limit == "full_scale" and found.gain.gain_db < -9.5
    rms = [np.sqrt(np.mean(np.square(pcm.astype(np.float64)))) for pcm in (found.stored_N, found.view_N)]
    assert rms[0] == pytest.approx(rms[1], rel=0.01)


def test_recorded_gain_is_kept_unless_a_loudness_is_asked_for(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello")])
    make.run_all(entry, lake)
    row = lake.read_table("audio_22k", "made").row(0, named=True)
    assert (row["gain_db"], row["gain_limit"], row["loudness_by"]) == (0.0, None, None)
