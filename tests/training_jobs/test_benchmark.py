"""Latencies are taken on the trained weights, all modes alike; what cannot be measured is absent, with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
from pydantic import ValidationError

from models import load_audio_tokenizer
from training_jobs.benchmark import benchmark
from training_jobs.benchmark_prompts import NoRecordingError, Recordings, make_prompts, spoken_prompts
from training_jobs.benchmark_settings import BenchmarkSettings
from training_jobs.decoding_settings import DecodingSettings
from training_jobs.dialogue import SpeechModel
from training_jobs.evaluation_rows import EvaluationRow, held_out_rows
from training_jobs.jobs import BenchmarkJob, Tracking, read_result
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import connect
from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.schemas import frame_from_rows

CORPUS = "words"
MODES = ["vanilla", "balance", "boost", "turbo"]
PNG = b"\x89PNG"


def job_of(trained: Any, tracking: Tracking, output_dir: Path, **settings: Any) -> BenchmarkJob:
    lengths = {"prompt_tokens": [32, 64, 512], "new_tokens": 24, "repeats": [3, 2, 2], "warmup": 1}
    return BenchmarkJob(
        lake=trained.lake,
        corpora=[CORPUS],
        model_dir=trained.model_dir,
        tokenizer_dir=trained.tokenizer_dir,
        ratio=(1, 10, 4, 10),
        settings=BenchmarkSettings.model_validate({**lengths, **settings}),
        output_dir=output_dir,
        tracking=tracking,
    )


def with_sound(trained: Any, root: Path) -> Lake:
    """The lake with the recordings that its tokens were made from."""
    shutil.copytree(trained.lake, root)
    lake = Lake(str(root))
    rows = []
    for number, (word, wav) in enumerate(trained.wav.items()):
        (root / "audio_22k").mkdir(exist_ok=True)
        shutil.copy(wav, root / "audio_22k" / f"{word}.wav")
        rows.append(
            {
                "corpus": CORPUS,
                "utterance_id": word,
                "split": "test",
                "tasks": ["asr"],
                "speaker": "bob",
                "language": "en",
                "text": word,
                "licence": "CC0-1.0",
                "source": "c.jsonl",
                "audio_path": f"audio_22k/{word}.wav",
                "audio_digest": f"{number:064x}",
                "duration_s": 0.5,
            }
        )
    lake.write_table("accepted_utterances", CORPUS, frame_from_rows("accepted_utterances", rows))
    return lake


def rows_of(trained: Any) -> list[EvaluationRow]:
    digest = load_audio_tokenizer(trained.tokenizer_dir).digest
    return held_out_rows(Lake(trained.lake), [CORPUS], digest, 5, seed=0).rows


def test_every_mode_and_length_is_timed_on_the_trained_weights(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    lake = with_sound(trained, tmp_path / "lake")
    job = job_of(trained, tracking, tmp_path / "out").model_copy(update={"lake": lake.url})
    result = benchmark(job, report)
    assert list(result["by_prompt"]) == ["32", "64"]
    assert result["skipped"] == {"512": "512 tokens and 24 new ones exceed the model's 512 positions"}
    for length, measured in result["by_prompt"].items():
        assert measured["audio_seconds"] == (int(length) - 21) / 12.5
        assert 0 < measured["audio_encoder_ms"]["p50"] <= measured["audio_encoder_ms"]["p99"]
        assert measured["memory"] == "resident, kernel's peak"
        assert list(measured["modes"]) == MODES
        for figures in measured["modes"].values():
            assert 0 < figures["prefill_ms_p50"] <= figures["first_chunk_ms_p50"]
            assert (
                figures["first_chunk_ms_p50"]
                <= figures["first_chunk_ms_p95"]
                <= figures["first_chunk_ms_p99"]
            )
            assert figures["first_chunk_ms_p50"] < figures["first_sound_ms_p50"]
            assert figures["tokens_per_second_p50"] >= figures["tokens_per_second_p95"] > 0
            assert figures["decode_tokens_per_second_p50"] > 0
            # Torch alone is larger than 100 MiB, and this model is not.
            assert 100 < figures["peak_memory_mib"] < 10_000
    assert result["modes"] == result["by_prompt"]["32"]["modes"]
    assert result["modes"]["vanilla"]["speedup"] == 1.0
    # 14 tokens of a steady chunk carry 8 of audio, 12.5 of which are a second.
    vanilla = result["modes"]["vanilla"]
    assert vanilla["real_time_factor"] * vanilla["tokens_per_second_p50"] == pytest.approx(12.5 * 14 / 8)
    assert vanilla["real_time_factor"] * vanilla["audio_seconds_per_second_p50"] == pytest.approx(1)
    times = json.loads((tmp_path / "out/latency.json").read_text())["times"]
    assert {length: len(taken["audio_encoder_ms"]) for length, taken in times.items()} == {"32": 3, "64": 2}
    for length, taken in times.items():
        assert [len(runs) for runs in taken["arrivals_ms"].values()] == [3 if length == "32" else 2] * 4
        assert {len(run) for runs in taken["arrivals_ms"].values() for run in runs} == {24}
    assert read_result(tmp_path / "out") == result


def test_people_are_shown_a_table_the_plots_and_what_it_can_be_compared_with(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    result = benchmark(job_of(trained, tracking, tmp_path), report)
    table, plots = result["latency_by_prompt_markdown"], result["latency_plots_markdown"]
    assert result["decoding"] == DecodingSettings().model_dump()
    fingerprint = f"`{result['fingerprint'][:12]}`: comparable only with figures of the same fingerprint"
    assert fingerprint in result["latency_markdown"] and fingerprint in table
    assert "exceed the model's 512 positions" in table
    assert f"load average {result['load_average']:.2f} before" in table.lower()
    assert plots.count("data:image/png;base64,") == 2
    client = connect(tracking)
    stored = client.get_run(result["run_id"]).data
    assert stored.metrics["turbo/speedup"] > 0 and stored.metrics["prompt_64/turbo/first_chunk_ms_p99"] > 0
    names = {artifact.path for artifact in client.list_artifacts(result["run_id"])}
    assert {"latency.json", "latency.md", "first_sound.png", "tokens_per_second.png"} <= names
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in names if name.endswith(".png"))


def test_what_cannot_be_measured_is_absent_and_said(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    """This lake has tokens and no recordings."""
    job = job_of(trained, tracking, tmp_path, prompt_tokens=[32], repeats=[2])
    measured = benchmark(job, report)["by_prompt"]["32"]
    assert "audio_encoder_ms" not in measured
    reason = measured["not_measured"]["audio_encoder_ms"]
    assert reason.startswith(f"table accepted_utterances has no partition '{CORPUS}'")
    assert reason in read_result(tmp_path)["latency_by_prompt_markdown"]  # type: ignore[index]


def test_lengths_that_all_exceed_the_positions_are_an_error(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    job = job_of(trained, tracking, tmp_path, prompt_tokens=[500, 512], repeats=[2, 2])
    with pytest.raises(
        ConfigurationError, match="500 tokens and 24 new ones exceed the model's 512 positions"
    ):
        benchmark(job, report)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompt_tokens": [256, 32]}, r"prompt_tokens \[256, 32\] must ascend"),
        ({"repeats": [3]}, r"repeats \[3\] has 1 counts for the 2 lengths of prompt_tokens \[32, 256\]"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings: dict[str, Any], said: str) -> None:
    values = {"prompt_tokens": [32, 256], "new_tokens": 24, "repeats": [3, 2], "warmup": 1, **settings}
    with pytest.raises(ValidationError, match=said):
        BenchmarkSettings.model_validate(values)


def test_prompts_are_spoken_questions_of_exactly_the_length_asked_for(trained: Any) -> None:
    rows, model = rows_of(trained), SpeechModel.load(trained.model_dir)
    for length, count in ((24, 3), (32, 1)):  # 32 is longer than any row: audios are joined
        prompts = spoken_prompts(model, rows, length, 3)
        assert [len(prompt.token_ids) for prompt in prompts] == [length] * count
        assert make_prompts(model, rows, length, 3) == [prompt.token_ids for prompt in prompts]
        for prompt in prompts:
            assert len(prompt.audio_tokens) == sum(map(model.is_audio, prompt.token_ids)) == length - 21
    with pytest.raises(
        ConfigurationError, match="prompt_tokens has 21, but a prompt with one audio token takes 22"
    ):
        spoken_prompts(model, rows, 21, 3)


def test_the_sound_of_a_prompt_is_that_of_its_tokens(trained: Any, tmp_path: Path) -> None:
    lake, tokenizer = with_sound(trained, tmp_path / "lake"), load_audio_tokenizer(trained.tokenizer_dir)
    recordings = Recordings(lake, [CORPUS], tokenizer.sample_rate)
    rows, model = rows_of(trained), SpeechModel.load(trained.model_dir)
    (prompt, *_) = spoken_prompts(model, rows, 21 + 7, 1)
    sound, rate_hz = recordings.sound(prompt, 7 / 12.5)
    assert tokenizer.encode(sound, rate_hz)[:6] == prompt.audio_tokens[:6]
    (joined,) = spoken_prompts(model, rows, 21 + 300, 1)
    sound, rate_hz = recordings.sound(joined, 300 / 12.5)
    assert (sound.size, rate_hz) == (24 * 22_050, 22_050)
    word = joined.sources[0].row_id.rpartition("-")[2]
    recorded, _ = soundfile.read(trained.wav[word], dtype="float32")
    assert (sound[: recorded.size] == recorded).all()


def test_a_prompt_whose_recording_is_not_in_the_tables_is_an_error(trained: Any, tmp_path: Path) -> None:
    lake = with_sound(trained, tmp_path / "lake")
    table = lake.read_table("accepted_utterances", CORPUS)
    lake.write_table("accepted_utterances", CORPUS, table[:0])
    (prompt, *_) = spoken_prompts(SpeechModel.load(trained.model_dir), rows_of(trained), 24, 1)
    row = prompt.sources[0].row_id
    with pytest.raises(NoRecordingError, match=f"row '{row}' .* has no audio_path for its audio 0000"):
        Recordings(lake, [CORPUS], 22_050).sound(prompt, 1.0)


def test_a_constrained_run_is_another_run_and_says_so(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    job = job_of(trained, tracking, tmp_path / "full")
    full = benchmark(job, report)
    changes = {"decoding": DecodingSettings(constrained=True), "output_dir": tmp_path / "constrained"}
    constrained = benchmark(job.model_copy(update=changes), report)
    assert constrained["hardware_digest"] == full["hardware_digest"]
    assert constrained["fingerprint"] != full["fingerprint"]
    assert "full head in every step, fingerprint" in full["latency_markdown"]
    said = (
        f"constrained to audio words, fingerprint `{constrained['fingerprint'][:12]}`: comparable only with"
    )
    assert said in constrained["latency_markdown"] and said in constrained["latency_by_prompt_markdown"]
    written = json.loads((tmp_path / "constrained/latency.json").read_text())["decoding"]
    assert written == {"constrained": True, "weights": "float"}
    stored = connect(tracking).get_run(constrained["run_id"]).data
    assert stored.params["constrained"] == "True"
    assert stored.tags["latency_fingerprint"] == constrained["fingerprint"]
