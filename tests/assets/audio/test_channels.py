"""Several channels: mixed without dead ones, the first, or the cleanest; what cancels is refused or chosen from."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from assets.audio.channels import cancelled_db, to_mono
from assets.audio.problem import AudioFaultError
from validation.ledger import read_ledger

RATE = 16_000


@pytest.fixture
def voice(make) -> np.ndarray:
    return make.speech_like(3.0, RATE)


def channels(*each: np.ndarray) -> np.ndarray:
    return np.stack(each, axis=1).astype(np.float32)


def noise(level: float, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(3 * RATE)).astype(np.float32)


def test_a_dead_channel_is_left_out_of_the_mixture_and_told(voice):
    found = to_mono(channels(voice, np.zeros_like(voice), 0.5 * voice), RATE, "mix")
    np.testing.assert_allclose(found.samples_N, 0.75 * voice, atol=1e-6)
    assert found.used == (1, 3) and found.measures.dead == (1,) and found.measures.dead_channels == 1
    alone = to_mono(channels(noise(1e-6), voice), RATE, "mix")
    np.testing.assert_array_equal(alone.samples_N, voice)
    assert alone.used == (2,)


def test_channels_that_cancel_are_no_mixture_but_one_of_them_may_be_taken(voice):
    against = channels(voice, -0.98 * voice)
    with pytest.raises(AudioFaultError, match=r"cancel each other.*audio.channels: best takes one") as error:
        to_mono(against, RATE, "mix")
    assert error.value.problem.reason == "channels_cancel"
    best, first = to_mono(against, RATE, "best"), to_mono(against[:, ::-1], RATE, "first")
    np.testing.assert_array_equal(best.samples_N, voice)
    assert best.used == first.used == (1,)
    assert best.measures.channel_correlation == 1.0, "one channel has nothing against it"


@pytest.mark.parametrize(
    ("others", "best"),
    [
        (lambda v: [0.2 * v, v], 2),  # alike but for their level: the louder one
        (lambda v: [v + noise(0.05), 0.3 * v], 2),  # the less noisy one, though it is softer
        (lambda v: [np.clip(4 * v, -0.5, 0.5), 0.3 * v + noise(0.003)], 2),  # one that is not clipped
        (lambda v: [np.zeros_like(v), 0.02 * v], 2),  # one that lives
        (lambda v: [v, v], 1),  # the first of equal ones
        (lambda v: [np.where(np.arange(v.size) == 9, np.nan, 0.1 * v), v], 2),
    ],
)
def test_the_best_channel_is_the_cleanest_one(voice, others, best):
    found = to_mono(channels(*others(voice)), RATE, "best")
    assert found.used == (best,)


def test_a_channel_that_is_not_there_is_a_fault_with_both_numbers(voice):
    with pytest.raises(AudioFaultError, match="no channel 3: there are 2"):
        to_mono(channels(voice, voice), RATE, "split", 3)


def test_the_policy_of_a_corpus_decides_what_becomes_of_real_defects(tmp_path, lake, make):
    folder = make.shared("quality") / "degraded"
    root = tmp_path / "c"
    root.mkdir()
    for name in ("clean", "antiphase", "onechannel_dead"):
        data = (folder / f"367-130732-0001_{name}.wav").read_bytes()
        (root / f"{name}.wav").write_bytes(data)
    options = {"purpose": "tokenizer"}
    make.run_all(make.entry("untranscribed", root, options=options), lake)
    reasons = dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows())
    assert reasons["antiphase.wav"] == "channels_cancel" and reasons["onechannel_dead.wav"] == "dead_channel"
    row = lake.read_table("audio_22k", "made").filter(utterance_id="onechannel_dead.wav").row(0, named=True)
    living = 1 + int(np.argmax(np.abs(sf.read(root / "onechannel_dead.wav")[0]).max(axis=0)))
    assert row["source_channels"] == 2 and row["channels_used"] == [living]

    best = make.entry("untranscribed", root, options=options, audio={"channels": "best"})
    outcomes = make.run_all(best, lake)
    assert [one.recomputed for one in outcomes[:2]] == [False, True]
    reasons = dict(read_ledger(lake, "made").select("utterance_id", "outcome").iter_rows())
    assert reasons == dict.fromkeys(("clean.wav", "antiphase.wav", "onechannel_dead.wav"), "accepted")
    levels = lake.read_table("audio_22k", "made")["level_dbfs"]
    assert levels.max() - levels.min() < 1.0


def test_a_sample_whose_square_overflows_is_no_cancellation():
    samples_NC = np.full((100, 2), 0.1, dtype=np.float32)
    samples_NC[50] = (1e30, -1e30)
    assert cancelled_db(samples_NC, samples_NC.mean(axis=1, dtype=np.float32)) == 0.0
