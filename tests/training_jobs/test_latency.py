"""Figures are those of the times taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training_jobs.latency import Timing, first_chunk_positions
from training_jobs.latency_figures import ModeFigures, NotMeasured, Spread, Times, summarise
from training_jobs.machine_load import MachineLoad


def run(step_s: float, prefill_s: float = 0.0) -> Timing:
    return Timing([1] * 10, [prefill_s + step_s * (count + 1) for count in range(10)])


TIMES = Times(
    timings={"vanilla": [run(0.01), run(0.02), run(0.03)], "boost": [run(0.005)] * 3},
    basis="reply",
    chunk_positions={"vanilla": [7] * 3, "boost": [7] * 3},
    encoder_s=[0.1],
    decoder_s=[0.05, 0.0, 0.0],
    peak_bytes={"vanilla": 3 * 2**20, "boost": 2**20},
)


def figures_of(times: Times = TIMES) -> list[ModeFigures]:
    return summarise(times, bool, speech_s_per_token=0.08)


def test_the_first_chunk_is_the_replys_own_where_every_reply_has_one() -> None:
    spoken = Timing([0] + [1] * 8 + [0], [0.01 * step for step in range(1, 11)])
    silent = Timing([0] * 10, spoken.arrivals_s)
    runs = {"vanilla": [spoken], "boost": [spoken]}
    assert first_chunk_positions(runs, bool, 9) == ("reply", {"vanilla": [8], "boost": [8]})
    runs = {"vanilla": [spoken], "boost": [silent]}
    assert first_chunk_positions(runs, bool, 9) == ("interleaving_ratio", {"vanilla": [9], "boost": [9]})


def test_figures_are_percentiles_over_the_repeats() -> None:
    vanilla, boost = figures_of()
    assert vanilla.first_chunk_ms == Spread(
        pytest.approx(160.0), pytest.approx(232.0), pytest.approx(238.4), pytest.approx(80.0), 3
    )
    # Of rates the slow end is the low one.
    assert vanilla.tokens_per_second.p50 == pytest.approx(50.0)
    assert vanilla.tokens_per_second.p95 == pytest.approx(33.333 + 0.1 * 16.667, abs=1e-2)
    assert boost.speedup == pytest.approx(4.0)
    assert boost.real_time_factor == pytest.approx(1 / (0.08 * 200))
    assert boost.audio_seconds_per_second.p50 == pytest.approx(16.0)
    assert (vanilla.peak_memory_mib, boost.peak_memory_mib) == (3.0, 1.0)


def test_the_first_sound_is_each_repeats_own_chunk_and_its_decoding() -> None:
    vanilla, _ = figures_of()
    # 80 + 50, 160 and 240 ms: the median of the sums, not the sum of the medians.
    assert isinstance(vanilla.first_sound_ms, Spread)
    assert vanilla.first_sound_ms.p50 == pytest.approx(160.0)
    assert vanilla.first_sound_ms.iqr == pytest.approx(55.0)


def test_the_rate_of_decoding_leaves_the_prefill_out() -> None:
    slow_start = replace(
        TIMES, timings={"vanilla": [run(0.01, prefill_s=1.0)] * 3, "boost": [run(0.005)] * 3}
    )
    vanilla, boost = figures_of(slow_start)
    assert vanilla.decode_tokens_per_second.p50 == pytest.approx(100.0)
    assert vanilla.tokens_per_second.p50 == pytest.approx(10 / 1.1)
    assert boost.decode_speedup == pytest.approx(2.0)


def test_a_figure_that_could_not_be_taken_is_left_out_with_its_reason() -> None:
    mute = Timing([1] * 9 + [0], run(0.01).arrivals_s)
    times = replace(
        TIMES,
        timings={"vanilla": [replace(mute, token_ids=[0] * 10), mute, mute], "boost": [mute] * 3},
        decoder_s=NotMeasured("this kind has no decoder"),
    )
    vanilla, boost = figures_of(times)
    assert vanilla.not_measured() == {
        "first_text_ms": "1 of 3 replies have no token of text",
        "first_sound_ms": "this kind has no decoder",
    }
    assert not [name for name in vanilla.flat() if name.startswith(("first_text", "first_sound"))]
    assert boost.flat()["first_text_ms_p50"] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.02, "others took 2% of the 4 cores' time meanwhile"),
        (0.4, "others took 40% of the 4 cores' time meanwhile: **a busy machine**"),
        (None, "what other processes took is not known: the system counts no CPU time"),
    ],
)
def test_a_busy_machine_is_said_to_be_one(share: float | None, said: str) -> None:
    assert MachineLoad(0.5, 1.25, 4, share).sentence().endswith(said)
