"""Latencies are taken on the trained weights, all modes alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models import load_audio_tokenizer
from training_jobs.benchmark import benchmark, make_prompts
from training_jobs.dialogue import SpeechModel
from training_jobs.evaluation_rows import held_out_rows
from training_jobs.jobs import BenchmarkJob, Tracking, read_result
from training_jobs.latency import Timing, first_chunk_positions, summarise
from training_jobs.profile import BenchmarkSettings
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import connect
from validation.errors import ConfigurationError
from validation.lake import Lake

CORPUS = "words"


def test_every_mode_is_timed_on_the_trained_weights(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    job = BenchmarkJob(
        lake=trained.lake,
        corpora=[CORPUS],
        model_dir=trained.model_dir,
        tokenizer_dir=trained.tokenizer_dir,
        ratio=(1, 10, 4, 10),
        settings=BenchmarkSettings(prompt_tokens=32, new_tokens=24, repeats=3, warmup=1),
        output_dir=tmp_path,
        tracking=tracking,
    )
    result = benchmark(job, report)
    assert list(result["modes"]) == ["vanilla", "balance", "boost", "turbo"]
    for figures in result["modes"].values():
        assert 0 < figures["prefill_ms_p50"] <= figures["first_chunk_ms_p50"] <= figures["first_chunk_ms_p95"]
        assert figures["tokens_per_second_p50"] >= figures["tokens_per_second_p95"] > 0
    assert result["modes"]["vanilla"]["speedup"] == 1.0
    # 14 tokens of a steady chunk carry 8 of audio, 12.5 of which are a second.
    vanilla = result["modes"]["vanilla"]
    assert vanilla["real_time_factor"] * vanilla["tokens_per_second_p50"] == pytest.approx(12.5 * 14 / 8)
    times = json.loads((tmp_path / "latency.json").read_text())["arrivals_ms"]
    assert [len(runs) for runs in times.values()] == [3] * 4
    assert {len(run) for runs in times.values() for run in runs} == {24}
    assert read_result(tmp_path) == result
    assert connect(tracking).get_run(result["run_id"]).data.metrics["turbo/speedup"] > 0


def test_prompts_are_spoken_questions_of_exactly_the_length_asked_for(trained: Any) -> None:
    digest = load_audio_tokenizer(trained.tokenizer_dir).digest
    rows = held_out_rows(Lake(trained.lake), [CORPUS], digest, 5, seed=0).rows
    model = SpeechModel.load(trained.model_dir)
    for length, count in ((24, 3), (32, 1)):  # 32 is longer than any row: audios are joined
        prompts = make_prompts(model, rows, length, 3)
        assert [len(prompt) for prompt in prompts] == [length] * count
        assert all(sum(map(model.is_audio, prompt)) == length - 21 for prompt in prompts)
    with pytest.raises(
        ConfigurationError, match="prompt_tokens is 21, but a prompt with one audio token takes 22"
    ):
        make_prompts(model, rows, 21, 3)


def test_the_first_chunk_is_the_replys_own_where_every_reply_has_one() -> None:
    spoken = Timing([0] + [1] * 8 + [0], [0.01 * step for step in range(1, 11)])
    silent = Timing([0] * 10, spoken.arrivals_s)
    runs = {"vanilla": [spoken], "boost": [spoken]}
    assert first_chunk_positions(runs, bool, 9) == ("reply", {"vanilla": [8], "boost": [8]})
    runs = {"vanilla": [spoken], "boost": [silent]}
    assert first_chunk_positions(runs, bool, 9) == ("interleaving_ratio", {"vanilla": [9], "boost": [9]})


def test_figures_are_percentiles_over_the_repeats() -> None:
    def run(step_s: float) -> Timing:
        return Timing([1] * 10, [step_s * (count + 1) for count in range(10)])

    vanilla, boost = summarise(
        {"vanilla": [run(0.01), run(0.02), run(0.03)], "boost": [run(0.005)] * 3},
        {"vanilla": [7] * 3, "boost": [7] * 3},
        tokens_per_audio_token=1.0,
        audio_tokens_per_second=12.5,
    )
    assert vanilla.first_chunk_ms_p50 == pytest.approx(160.0)
    assert vanilla.tokens_per_second_p50 == pytest.approx(50.0)
    assert boost.speedup == pytest.approx(4.0)
    assert boost.real_time_factor == pytest.approx(12.5 / 200)
