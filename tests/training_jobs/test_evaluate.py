"""Scores of a model that has learnt three words by heart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models import load_audio_tokenizer, load_model, save_model
from training_jobs.decoding_settings import DecodingSettings
from training_jobs.evaluate import evaluate
from training_jobs.evaluation_figures import overall
from training_jobs.evaluation_rows import EvaluationError, EvaluationRow, held_out_rows
from training_jobs.evaluation_tables import row_table, score_table
from training_jobs.evaluation_worker import Answer
from training_jobs.jobs import EvaluateJob, Tracking, read_result
from training_jobs.profile import EvaluationSettings
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import connect
from validation.lake import Lake

CORPUS = "words"


def _job(trained: Any, tracking: Tracking, output_dir: Path) -> EvaluateJob:
    return EvaluateJob(
        lake=trained.lake,
        corpora=[CORPUS],
        model_dir=trained.model_dir,
        tokenizer_dir=trained.tokenizer_dir,
        ratio=(1, 10, 4, 10),
        settings=EvaluationSettings(max_rows_per_slice=2, max_new_tokens=64),
        seed=1,
        output_dir=output_dir,
        tracking=tracking,
    )


def test_a_model_that_knows_its_rows_is_scored_perfect_in_every_slice(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    job = _job(trained, tracking, tmp_path)
    modes = ("vanilla", "balance", "boost")
    settings = job.settings.model_copy(update={"reference_rules": True, "modes": modes})
    result = evaluate(job.model_copy(update={"settings": settings}), report)
    for mode in modes:
        assert result["overall"][mode] == {
            "asr_known_wer": 0.0,
            "asr_known_cer": 0.0,
            "asr_known_exact": 1.0,
            "asr_unseen_wer": 0.0,
            "asr_unseen_cer": 0.0,
            "asr_unseen_exact": 1.0,
            "sqa_exact": 1.0,
            "sqa_contains": 1.0,
            "sqa_spoken_contains": 1.0,
            "tts_wer": 0.0,
            "tts_exact": 1.0,
        }
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    assert len(rows) == 2 * 2 * 3 * 3  # rows x voices x tasks x modes
    assert rows["ended"].all()
    assert set(pl.read_parquet(tmp_path / "scores.parquet")["speaker_group"]) == {"known", "unseen"}
    assert result["left_out"] == {"beyond max_rows_per_slice": 6}
    assert set(result["intervals"]["boost"]) == set(result["overall"]["boost"])
    assert result["intervals"]["boost"]["tts_wer"] == [0.0, 0.0]
    assert result["boost_minus_vanilla"]["asr_known_wer"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert {one["by"] for one in result["slices"]} == {
        "language",
        "speaker_group",
        "speaker",
        "duration",
        "snr",
    }
    assert {one["value"] for one in result["slices"] if one["by"] == "duration"} == {"below 1 s"}
    assert result["normalisers"]["en"]["unit"] == "word"
    assert result["listeners"] == ["the model itself, in Vanilla"]
    assert all(one["status"].startswith("skipped: no root") for one in result["standard_sets"].values())
    rules = result["reference_rules"]["overall"]["boost"]
    assert (rules["tts_wer"], rules["sqa_contains"], rules["silent_replies_left_out"]) == (0.0, 1.0, 0)
    assert not [name for name in result["overall"]["boost"] if "reference" in name]
    modules = {one["level"]: one for one in result["modules"] if one["kind"] == "audio"}
    assert list(modules) == ["backbone", *(f"module_{index}" for index in range(len(modules) - 1))]
    assert modules["module_0"]["labels"] and modules["module_0"]["agreement"] > 0.9
    assert "balance" in result["schedules_markdown"]
    # A transcript is text: where MCTP steps may say audio words only, most of it is lost, and that is to be seen.
    assert result["decoding"] == DecodingSettings().model_dump()
    cost = {one["task"]: one for one in result["constraint"]}
    assert {one["mode"] for one in cost.values()} == {"boost"} and list(cost) == ["asr", "sqa", "tts"]
    assert (cost["asr"]["wer_full"], cost["asr"]["exact_full"], cost["asr"]["rows"]) == (0.0, 1.0, 4)
    assert cost["asr"]["wer_constrained"] == cost["asr"]["wer_difference"] > 0.3
    assert cost["tts"]["same_text"] > cost["asr"]["same_text"]
    assert "| asr | boost | 4 | 0.0% |" in result["constraint_markdown"]
    assert read_result(tmp_path) == result
    run = connect(tracking).get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["constrained"] == "False"
    assert run.data.metrics["boost/asr_known_exact"] == 1.0
    assert run.data.metrics["modules/module_0_audio_agreement"] == modules["module_0"]["agreement"]


def test_rows_too_long_for_the_model_are_left_out_by_name_and_the_others_scored(
    trained: Any, tracking: Tracking, tmp_path: Path
) -> None:
    model = load_model(trained.model_dir)
    shortened = tmp_path / "model"
    shutil.copytree(trained.model_dir, shortened)
    # Room for the questions, which are nothing but audio, and not for an instruction beside it.
    model.config.max_position_embeddings = 40
    save_model(model, shortened)
    lines: list[str] = []
    job = _job(trained, tracking, tmp_path / "out").model_copy(
        update={
            "model_dir": shortened,
            "settings": EvaluationSettings(max_rows_per_slice=2, max_new_tokens=8),
        }
    )
    result = evaluate(job, Reporter(lines.append))
    assert result["reference_rules"] is None
    assert result["left_out"]["longer than the model's positions"] == 2 * 2 * 2  # rows x voices x (asr, tts)
    assert result["rows"] == 2 * 2
    said = [line for line in lines if line.startswith("not asked: asr row ")]
    assert said and "must fit into 40 positions" in said[0]


def test_a_voice_that_nobody_named_is_neither_known_nor_unseen(trained: Any, tmp_path: Path) -> None:
    rows = Lake(trained.lake).read_table("training_rows", CORPUS).with_columns(speaker=pl.lit("unknown"))
    lake = Lake(str(tmp_path))
    lake.write_table("training_rows", CORPUS, rows)
    lake.write_table("audio_tokens", CORPUS, Lake(trained.lake).read_table("audio_tokens", CORPUS))
    held_out = held_out_rows(lake, [CORPUS], load_audio_tokenizer(trained.tokenizer_dir).digest, 9, seed=0)
    assert {row.speaker_group for row in held_out.rows} == {"unstated"}


def test_which_rows_are_drawn_depends_on_the_seed_and_not_on_the_others(trained: Any) -> None:
    lake, digest = Lake(trained.lake), load_audio_tokenizer(trained.tokenizer_dir).digest

    def drawn(most: int, seed: int) -> set[str]:
        return {row.row_id for row in held_out_rows(lake, [CORPUS], digest, most, seed).rows}

    assert drawn(1, seed=1) == drawn(1, seed=1)
    assert drawn(1, seed=1) < drawn(2, seed=1) < drawn(3, seed=1)
    assert len({frozenset(drawn(1, seed)) for seed in range(8)}) > 1


def test_missing_tokens_and_a_corpus_without_held_out_rows_are_errors(trained: Any, tmp_path: Path) -> None:
    lake = Lake(trained.lake)
    with pytest.raises(EvaluationError, match="has no tokens of tokenizer ffff; materialise audio_tokens"):
        held_out_rows(lake, [CORPUS], "ffff", 5, seed=0)
    other = Lake(str(tmp_path))
    other.write_table("training_rows", CORPUS, lake.read_table("training_rows", CORPUS).filter(split="train"))
    with pytest.raises(EvaluationError, match="no held-out row"):
        held_out_rows(other, [CORPUS], "ffff", 5, seed=0)


def test_rows_that_cannot_be_scored_are_counted_by_reason(trained: Any, tmp_path: Path) -> None:
    rows = Lake(trained.lake).read_table("training_rows", CORPUS).filter(split="test", task="conversation")
    text = json.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}])
    changed = rows.with_columns(
        messages=pl.when(pl.col("speaker") == "bob").then(pl.lit(text)).otherwise("messages"),
        task=pl.when(pl.col("speaker") == "bob").then(pl.lit("text")).otherwise("task"),
    )
    lake = Lake(str(tmp_path))
    lake.write_table("training_rows", CORPUS, changed)
    lake.write_table("audio_tokens", CORPUS, Lake(trained.lake).read_table("audio_tokens", CORPUS))
    held_out = held_out_rows(lake, [CORPUS], load_audio_tokenizer(trained.tokenizer_dir).digest, 9, seed=0)
    assert {row.speaker_group for row in held_out.rows} == {"unseen"}  # nothing of this lake was trained on
    assert held_out.left_out == {"text without a spoken question": 3}


def test_silence_counts_as_failure_and_a_figure_without_rows_is_absent() -> None:
    row = EvaluationRow("r", CORPUS, "en", "ann", "tts", "known", [], [], "one two")
    silent = Answer(CORPUS, "r", "tts", "boost", None, 5, 0, True, 0.1)
    table = row_table([row], [silent])
    assert overall(table) == {"boost": {"tts_wer": 1.0, "tts_exact": 0.0}}
    assert score_table(table).select("rows", "wer", "no_reply").rows() == [(1, 1.0, 1)]


@pytest.mark.parametrize(
    ("modes", "message"),
    [(("boost",), "lack vanilla"), (("vanilla", "turbo"), "lack boost"), (("vanilla", "boost") * 2, "twice")],
)
def test_modes_that_cannot_be_compared_are_refused(modes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(max_rows_per_slice=2, max_new_tokens=8, modes=modes)


def test_what_is_evaluated_constrained_is_measured_against_the_full_head(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    full = evaluate(_job(trained, tracking, tmp_path / "full"), report)
    changes = {"decoding": DecodingSettings(constrained=True), "output_dir": tmp_path / "constrained"}
    constrained = evaluate(_job(trained, tracking, tmp_path).model_copy(update=changes), report)
    assert constrained["overall"]["vanilla"] == full["overall"]["vanilla"]  # without MCTP steps
    assert constrained["overall"]["boost"]["asr_known_wer"] > full["overall"]["boost"]["asr_known_wer"]
    timed = {"tokens_per_second_full", "tokens_per_second_constrained"}
    sides = [
        [{key: value for key, value in one.items() if key not in timed} for one in result["constraint"]]
        for result in (full, constrained)
    ]
    assert sides[0] == sides[1]
