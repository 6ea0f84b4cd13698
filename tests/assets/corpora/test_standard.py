"""Standard test sets: read like any corpus, nothing of them trained on, scored by set or skipped with that said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from assets.corpora.config import CorporaFileError, load_corpora
from training_jobs.evaluation_rows import HeldOut, held_out_rows
from training_jobs.evaluation_tables import row_table
from training_jobs.evaluation_worker import Answer
from training_jobs.standard_results import standard_markdown, standard_results
from training_jobs.standard_sets import load_standard_sets
from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.schemas import frame_from_rows

OWN = {"name": "own", "reader": "librispeech", "root": "own", "licence": "CC0-1.0", "language": "en"}
TOKENIZER = "f" * 64
SAID = 3


def _file(folder: Path, sets: object) -> Path:
    path = folder / "corpora.yaml"
    path.write_text(yaml.safe_dump({"corpora": [OWN], "standard_sets": sets}))
    return path


def _held_out(lake: Lake, name: str, limit: int | None = None) -> HeldOut:
    """The set's rows, its recordings all sounding alike to the tokenizer."""
    accepted = lake.read_table("accepted_utterances", name)
    tokens = [
        {
            "corpus": name,
            "audio_digest": digest,
            "tokenizer_digest": TOKENIZER,
            "augmentation_digest": "",
            "token_ids": [1, 2, 3],
            "duration_s": seconds,
        }
        for digest, seconds in accepted.select("audio_digest", "duration_s").unique().iter_rows()
    ]
    lake.write_table("audio_tokens", name, frame_from_rows("audio_tokens", tokens))
    return held_out_rows(lake, [name], TOKENIZER, 2, seed=0, limits={name: limit})


def test_every_declared_set_is_a_corpus_that_can_be_read(tmp_path: Path) -> None:
    sets = load_standard_sets()
    file = load_corpora(_file(tmp_path, {name: f"sets/{name}" for name in sets}), check_roots=False)
    assert set(file.standard_sets) == set(sets)
    by_name = {entry.name: entry for entry in file.corpora}
    for name, one in sets.items():
        entry = by_name[name]
        assert (entry.reader, entry.language) == (one.reader, one.language)
        assert entry.root == str(tmp_path / "sets" / name)
        if one.task != "sqa":
            assert entry.tasks == (one.task,)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"librispeech": "x"}, "unknown set 'librispeech'; allowed are librispeech_test_clean, "),
        ({"aishell1_test": 7}, "aishell1_test: got 7; wanted is the folder with data.list"),
        (["aishell1_test"], "wanted are names of sets with roots"),
        ({"aishell1_test": "${NO_SUCH_VARIABLE}"}, "names the variable NO_SUCH_VARIABLE, which is not set"),
    ],
)
def test_a_section_that_says_something_else_is_refused(tmp_path: Path, sets: object, said: str) -> None:
    with pytest.raises(CorporaFileError, match=said.replace("$", r"\$")):
        load_corpora(_file(tmp_path, sets), check_roots=False)


def test_a_declaration_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sets.yaml"
    path.write_text("mine: {title: Mine, task: asr, language: en, reader: jsonl, place: here}\n")
    with pytest.raises(ConfigurationError, match=r"sets.yaml: .*mine.place: Extra inputs"):
        load_standard_sets(path)


def test_a_set_without_a_root_is_skipped_and_that_is_said(tmp_path: Path, lake: Lake) -> None:
    file = load_corpora(_file(tmp_path, {"aishell1_test": None}), check_roots=False)
    assert file.standard_sets == ()
    results = standard_results(row_table([], []), file.standard_sets, lake, seed=0)
    assert set(results) == set(load_standard_sets())
    assert results["aishell1_test"]["status"] == "skipped: no root under standard_sets in the corpora file"
    assert "figures" not in results["aishell1_test"]
    shown = standard_markdown(results, ["vanilla"])
    assert (
        "| LibriSpeech test-clean | asr | word error rate | 2620 | – | – | – | – | – | skipped: no root"
        in shown
    )


def test_real_librispeech_is_held_out_whole_scored_by_itself_and_called_a_part(
    tmp_path: Path, lake: Lake, make
) -> None:
    root = make.shared("librispeech") / "LibriSpeech" / "test-other"
    file = load_corpora(_file(tmp_path, {"librispeech_test_other": str(root)}), check_roots=False)
    entry = file.corpora[-1]
    make.run_all(entry, lake)
    rows = lake.read_table("training_rows", entry.name)
    assert set(rows["split"]) == {"test"}
    assert set(rows["task"]) == {"asr"}

    assert len(_held_out(lake, entry.name, 2).rows) == 2
    held_out = _held_out(lake, entry.name)
    assert len(held_out.rows) == len(rows)
    assert all(row.snr_db is not None and row.seconds for row in held_out.rows)
    table = row_table(held_out.rows, _answers(held_out))
    one = standard_results(table, file.standard_sets, lake, seed=0)["librispeech_test_other"]
    assert one["rows_scored"] == one["rows_accepted"] == len(rows)
    assert one["rows_read"] >= one["rows_accepted"]
    assert one["status"] == f"a part: {len(rows)} of 2939 rows, not comparable with published figures"
    wer = one["figures"]["wer"]["vanilla"]
    assert wer["rate_low"] < wer["rate"] < wer["rate_high"]


def test_a_spoken_question_may_have_several_right_answers_and_wants_one_aloud(
    tmp_path: Path, lake: Lake, make
) -> None:
    root = tmp_path / "quiz"
    make.speech(root / "q.wav")
    line = {
        "id": "q",
        "messages": [
            {"role": "user", "content": "<|audio|>"},
            {"role": "assistant", "content": "The United Kingdom"},
        ],
        "audios": ["q.wav"],
        "answers": ["Great Britain", "UK"],
    }
    (root / "quiz.jsonl").write_text(json.dumps(line))
    file = load_corpora(_file(tmp_path, {"llama_questions": str(root)}), check_roots=False)
    make.run_all(file.corpora[-1], lake)
    (row,) = _held_out(lake, "llama_questions").rows
    assert row.answers == ("Great Britain", "UK")
    assert row.wants_speech
    answer = Answer(row.corpus, row.row_id, row.task, "vanilla", "It is Great Britain.", 5, 0, True, 0.1)
    one = standard_results(row_table([row], [answer]), file.standard_sets, lake, seed=0)["llama_questions"]
    assert one["figures"]["contains"]["vanilla"]["rate"] == 1.0
    assert one["figures"]["spoken_contains"]["vanilla"]["rate"] == 0.0  # it said nothing aloud


def _answers(held_out: HeldOut) -> list[Answer]:
    """Every third transcript without its last word."""
    return [
        Answer(
            row.corpus,
            row.row_id,
            row.task,
            "vanilla",
            row.reference.rpartition(" ")[0] if number % SAID == 0 else row.reference,
            5,
            0,
            True,
            0.1,
        )
        for number, row in enumerate(held_out.rows)
    ]
