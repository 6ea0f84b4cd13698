"""What a duel is made of: rows side by side, turns until chance no longer decides, other ears, rows seen before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from augmented_lake import utterance
from packs import training_row

from models import load_audio_tokenizer
from models.tokenizers.mel_kmeans import MelKmeansTokenizer
from training_jobs.comparison import Comparison
from training_jobs.duel_scores import score_comparisons, side_by_side, unasked, without
from training_jobs.duel_timing import speed_comparisons
from training_jobs.evaluation_rows import EvaluationError, EvaluationRow, held_out_rows
from training_jobs.evaluation_tables import row_table
from training_jobs.evaluation_worker import Answer
from training_jobs.gate import load_thresholds
from training_jobs.heard_rows import rows_heard_by
from training_jobs.jobs import write_result
from training_jobs.latency import Timing
from training_jobs.plan import SAMPLES_FILE, SAMPLES_SCHEMA
from training_jobs.seen_rows import seen_rows, stage_output_of
from validation.lake import Lake
from validation.schemas import frame_from_rows

THRESHOLDS = load_thresholds()


def _table(right: Sequence[bool], asked: int | None = None) -> pl.DataFrame:
    """Transcripts of "red cat", each right or with one word wrong; the first ``asked`` of them were asked."""
    rows = [
        EvaluationRow(f"r{at:03}", "c", "en", f"s{at % 10}", "asr", "known", [], [], "red cat")
        for at in range(len(right))
    ][:asked]
    answers = [
        Answer("c", row.row_id, "asr", "boost", "red cat" if right[at] else "red", 5, 0, True, 0.1)
        for at, row in enumerate(rows)
    ]
    return row_table(rows, answers)


def _scored(candidate: pl.DataFrame, champion: pl.DataFrame) -> dict[str, Comparison]:
    found = score_comparisons(side_by_side(candidate, champion), THRESHOLDS, seed=1)
    return {one.name: one for one in found}


def test_a_difference_counts_where_chance_does_not_explain_it() -> None:
    champion = _table([True] * 100)
    some = _scored(_table([at % 50 > 0 for at in range(100)]), champion)  # 2 of 100 rows, of one speaker
    many = _scored(_table([at % 4 > 0 for at in range(100)]), champion)  # 25 of 100
    assert set(many) == {"boost/asr_known_wer", "boost/asr_known_exact"}
    assert some["boost/asr_known_wer"].difference == pytest.approx(0.01)
    assert some["boost/asr_known_wer"].held and some["boost/asr_known_exact"].held
    assert many["boost/asr_known_wer"].difference == pytest.approx(0.125)
    assert many["boost/asr_known_exact"].difference == pytest.approx(-0.25)
    assert not many["boost/asr_known_wer"].held and not many["boost/asr_known_exact"].held
    assert many["boost/asr_known_wer"].basis == "100 rows of 10 speakers"
    better = _scored(champion, _table([at % 4 > 0 for at in range(100)]))
    assert all(one.held for one in better.values())


def test_rows_that_only_the_other_could_be_asked_are_failures() -> None:
    champion = _table([True] * 40)
    short = _table([True] * 40, asked=20)
    assert unasked(short, champion) == {"candidate": 20, "champion": 0}
    wer = _scored(short, champion)["boost/asr_known_wer"]
    assert (wer.candidate, wer.champion, wer.held) == (0.5, 0.0, False)
    wer = _scored(champion, short)["boost/asr_known_wer"]
    assert (wer.candidate, wer.champion, wer.held) == (0.0, 0.5, True)


def test_rows_are_left_out_by_corpus_and_id() -> None:
    pairs = side_by_side(_table([True] * 4), _table([False] * 4))
    assert without(pairs, set()).height == 4
    assert without(pairs, {("c", "r001"), ("other", "r002")})["row_id"].to_list() == ["r000", "r002", "r003"]


def _turns(ratio: float, noise: float) -> tuple[Callable[[int], Mapping[str, list[Timing]]], list[int]]:
    """Two models of which the candidate takes ``ratio`` as long; and the numbers of turns that were asked for."""
    random, asked = np.random.default_rng(0), list[int]()

    def take(count: int) -> Mapping[str, list[Timing]]:
        asked.append(count)
        return {
            name: [_timing(0.001 * share * float(np.exp(random.normal(0, noise)))) for _ in range(count)]
            for name, share in (("candidate", ratio), ("champion", 1.0))
        }

    return take, asked


def _timing(step_s: float) -> Timing:
    return Timing([7] * 10, [step_s * (at + 1) for at in range(10)])


def _raced(ratio: float, noise: float) -> tuple[list[Comparison], list[int]]:
    take, asked = _turns(ratio, noise)
    is_audio = {"candidate": lambda token: token == 7, "champion": lambda token: token == 7}
    return speed_comparisons(take, is_audio, 9, "boost", THRESHOLDS, seed=1), asked


def test_what_is_clear_takes_few_turns_and_what_is_not_takes_more_up_to_a_limit() -> None:
    (chunk, rate), asked = _raced(1.2, 0.01)
    assert asked == [20] and not chunk.held and not rate.held
    assert chunk.candidate == pytest.approx(9.6, rel=0.02) and chunk.champion == pytest.approx(8.0, rel=0.02)
    assert chunk.difference == pytest.approx(0.2, abs=0.02) and rate.difference == pytest.approx(
        -1 / 6, abs=0.02
    )
    (chunk, rate), asked = _raced(1.0, 0.01)
    assert asked == [20] and chunk.held and rate.held
    # Noise of 20 % a turn hides 4 %: more turns, until they show it, or there are no more.
    (chunk, rate), asked = _raced(1.0, 0.3)
    assert len(asked) > 1 and sum(asked) <= 160
    (chunk, rate), asked = _raced(1.05, 0.1)
    assert asked == [20, 20, 40, 80]
    assert chunk.undecided and chunk.held == (chunk.difference <= 0.05)
    assert chunk.basis == "160 turns" and "still holds the limit" in chunk.words()


def test_models_that_number_their_audio_words_differently_are_compared_by_what_is_audio() -> None:
    def take(count: int) -> Mapping[str, list[Timing]]:
        early = Timing([7] * 8 + [0] * 8, [0.001 * (at + 1) for at in range(16)])
        late = Timing([7] * 8 + [5] * 8, early.arrivals_s)
        return {"candidate": [early] * count, "champion": [late] * count}

    is_audio = {"candidate": lambda token: token == 7, "champion": lambda token: token == 5}
    chunk, rate = speed_comparisons(take, is_audio, 9, "boost", THRESHOLDS, seed=1)
    assert (chunk.candidate, chunk.champion) == (pytest.approx(8.0), pytest.approx(16.0))
    assert rate.difference == 0.0


def test_another_tokenizer_hears_the_recordings_itself(trained: Any, tmp_path: Path) -> None:
    shutil.copytree(trained.lake, tmp_path / "lake")
    lake = Lake(str(tmp_path / "lake"))
    ours = load_audio_tokenizer(trained.tokenizer_dir)
    waves = {word: soundfile.read(path, dtype="float32") for word, path in trained.wav.items()}
    MelKmeansTokenizer.train([*waves.values()], codes=8, iterations=3, seed=5).save(tmp_path / "theirs")
    theirs = load_audio_tokenizer(tmp_path / "theirs")
    rows = held_out_rows(lake, ["words"], ours.digest, 3, seed=0).rows
    utterances = []
    for number, (word, path) in enumerate(trained.wav.items()):
        shutil.copy(path, tmp_path / "lake" / f"{word}.wav")
        audio = {"audio_path": f"{word}.wav", "audio_digest": f"{number:064x}", "duration_s": 0.5}
        utterances.append(utterance("words", word, "test", ["asr"], audio))
    lake.write_table("accepted_utterances", "words", frame_from_rows("accepted_utterances", utterances))
    heard = rows_heard_by(theirs, lake, ["words"], rows)
    assert [(row.row_id, row.reference) for row in heard] == [(row.row_id, row.reference) for row in rows]
    for row in heard:
        word = row.reference
        expected = [] if row.task == "tts" else [list(theirs.encode(*waves[word]))]
        assert row.audio_tokens == expected
    lake.write_table("accepted_utterances", "words", frame_from_rows("accepted_utterances", utterances[1:]))
    with pytest.raises(EvaluationError, match=r"its audio 0{64} is not stored any more"):
        rows_heard_by(theirs, lake, ["words"], rows)


def test_rows_that_a_version_was_trained_on_are_found_by_name_and_by_recording(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    rows = [
        training_row(0),
        training_row(1, split="test"),  # in the training of then, as a variant
        training_row(2, split="test", audio_digests=["ab" * 32]),  # another row, the same recording
        training_row(3, split="test"),
    ]
    lake.write_table("training_rows", "c", frame_from_rows("training_rows", rows))
    training = tmp_path / "training"
    stage, packs = training / "sft" / "s", training / "stage_packs" / "p"
    for folder in (stage, packs):
        folder.mkdir(parents=True)
    (stage / "job.json").write_text(json.dumps({"packs_dir": f"/elsewhere/{packs.relative_to(tmp_path)}"}))
    named = [("asr-0", "0" * 64), ("asr-1~2", "12" * 32), ("asr-9", "ab" * 32)]
    samples = [
        {"row": at, "corpus": "c", "row_id": row, "tokens": 1, "audio_digests": [digest]}
        for at, (row, digest) in enumerate(named)
    ]
    pl.DataFrame(samples, schema=SAMPLES_SCHEMA).write_parquet(packs / SAMPLES_FILE)
    registered = training / "registered_model" / "r"
    registered.mkdir(parents=True)
    (registered / "job.json").write_text(json.dumps({"model_dir": "/elsewhere/training/sft/s/model"}))
    write_result(registered, {"version": "4"})
    assert stage_output_of(training / "registered_model", "5") is None
    output = stage_output_of(training / "registered_model", "4")
    assert output == stage
    assert seen_rows(output, lake, ["c"]) == {("c", "asr-1"), ("c", "asr-2")}
    (packs / SAMPLES_FILE).unlink()
    assert seen_rows(output, lake, ["c"]) is None and seen_rows(None, lake, ["c"]) is None
