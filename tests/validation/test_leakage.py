"""The leakage gate: what training shares with an evaluation set is refused, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from leaking_rows import check, copied, fill, row, syllables
from pydantic import ValidationError

from validation.lake import Lake, MissingTableError
from validation.leakage import check_leakage, verdict
from validation.leakage_copies import StoredAudioError
from validation.leakage_rules import Evaluation, EvaluationSet, Rules


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_nothing_shared_passes(lake):
    assert check(lake, [row("a"), row("b", "test")]) == set()
    assert verdict(lake).passed


def test_the_very_same_audio_is_refused_across_corpora_with_both_sides_named(lake):
    rows = [row("a", audio="one"), row("b", "test", audio="one", corpus="d"), row("c")]
    assert check(lake, rows) == {("audio", "a", "b")}
    found = verdict(lake)
    assert (found.passed, found.blocked) == (False, 1)
    for part in ("a.txt:1", "corpus c", "b of d (b.txt:1)", "the very same audio", "evaluation set test"):
        assert part in found.examples[0]


@pytest.mark.parametrize(
    ("there", "is_same"),
    [
        ("Hello, WORLD", True),
        ("hello  world", True),
        ("hello — world!", True),
        ("hello words", False),
        ("helloworld", False),
    ],
)
def test_the_same_words_by_the_same_speaker_are_refused(lake, there, is_same):
    rows = [row("a", text="Hello world.", speaker="s"), row("b", "test", text=there, speaker="s")]
    assert check(lake, rows) == ({("text", "a", "b")} if is_same else set())


def test_the_same_words_by_another_speaker_pass(lake):
    rows = [row("a", text="hello", speaker="s"), row("b", "test", text="hello", speaker="t")]
    assert check(lake, rows) == set()


@pytest.mark.parametrize("nameless", ["", "unknown"])
def test_speakers_without_a_name_are_one_within_their_corpus_only(lake, nameless):
    rows = [
        row("a", text="hello", speaker=nameless),
        row("b", text="hello", speaker=nameless, corpus="d"),
        row("c", "test", text="hello", speaker=nameless),
    ]
    assert check(lake, rows) == {("text", "a", "c")}


def test_text_rows_are_compared_by_their_messages_and_conversations_are_not(lake):
    messages = '[{"role":"user","content":"How much is 2+3?"},{"role":"assistant","content":"5"}]'
    spoken = '[{"role":"user","content":"<|audio|>"},{"role":"assistant","content":"<|audio|>"}]'
    rows = [
        row("a", audio=None, text="", messages=messages, speaker="unknown"),
        row("b", "test", audio=None, text="", messages=messages, speaker="else"),
        row("c", text="", messages=spoken, speaker="s", conversation_id="c", marker=0),
        row("d", "test", text="", messages=spoken, speaker="s", conversation_id="d", marker=0),
    ]
    assert check(lake, rows) == {("text", "a", "b")}


def test_words_of_signs_only_are_no_words(lake):
    assert check(lake, [row("a", text="…", speaker="s"), row("b", "test", text="?!", speaker="s")]) == set()


def test_scripts_without_spaces_and_case_are_compared(lake):
    rows = [row("a", text="今天天气很好。", speaker="s"), row("b", "test", text="今天天气很好", speaker="s")]
    assert check(lake, rows) == {("text", "a", "b")}


def test_a_speaker_that_the_split_holds_out_is_refused_and_others_are_not(lake):
    rows = [
        row("a", speaker="held"),
        row("b", speaker="free"),
        row("c", "test", speaker="held", corpus="d"),
        row("e", "test", speaker="free", corpus="d"),
    ]
    assert check(lake, rows, speakers={"d": ["held"]}) == {("speaker", "a", "c")}
    every = EvaluationSet(name="test", speakers="all")
    assert check(lake, rows, every) == {("speaker", "a", "c"), ("speaker", "b", "e")}


def test_a_training_row_is_named_once_per_rule_with_how_many_it_meets(lake):
    rows = [row("a", speaker="s"), *(row(f"b{n}", "test", speaker="s") for n in range(5))]
    check(lake, rows, EvaluationSet(name="test", speakers="all"))
    (found,) = lake.read_table("leakage").to_dicts()
    assert (found["matches"], found["value"], found["limit"]) == (5, 5.0, 0.0)
    assert found["evaluation_utterance_id"] == "b0"


def test_a_copy_is_refused_with_the_correlation_and_the_limit(lake):
    audio = {"a": copied(syllables(2.0, 1)), "b": syllables(2.0, 1), "c": syllables(2.0, 2)}
    assert check(lake, [row("a"), row("b", "test"), row("c")], audio=audio) == {("near_audio", "a", "b")}
    (found,) = lake.read_table("leakage").to_dicts()
    assert found["value"] > 0.97
    assert found["limit"] == 0.92
    assert "the same recording as b of c (b.txt:1)" in found["detail"]


def test_rows_of_one_audio_are_all_refused_as_copies(lake):
    audio = {"x": copied(syllables(2.0, 1)), "b": syllables(2.0, 1)}
    rows = [row("a1", audio="x"), row("a2", audio="x", corpus="d"), row("b", "test")]
    assert check(lake, rows, audio=audio) == {("near_audio", "a1", "b"), ("near_audio", "a2", "b")}


def test_audio_of_a_suspect_that_is_gone_is_named(lake):
    audio = {"a": copied(syllables(2.0, 1)), "b": syllables(2.0, 1)}
    rows = [row("a"), row("b", "test")]
    corpora = fill(lake, rows, audio)
    Path(lake.root, rows[0]["audio_path"]).unlink()
    with pytest.raises(StoredAudioError, match="is gone"):
        check_leakage(lake, Evaluation(), corpora, {})


def test_rules_decide_what_blocks(lake):
    rows = [row("a", audio="one"), row("b", "test", audio="one")]
    assert check(lake, rows, EvaluationSet(name="test", rules=Rules(audio="report"))) == {("audio", "a", "b")}
    assert verdict(lake).passed
    assert check(lake, rows, EvaluationSet(name="test", rules=Rules(audio="ignore"))) == set()


def test_only_the_declared_corpora_are_the_set(lake):
    rows = [row("a", audio="one"), row("b", "test", audio="one", corpus="d"), row("e", "test", corpus="f")]
    assert check(lake, rows, EvaluationSet(name="test", corpora=("f",))) == set()


def test_training_rows_of_a_corpus_that_is_for_evaluation_only_are_refused(lake):
    rows = [row("a"), row("b", corpus="d"), row("c", "test", corpus="d")]
    found = check(lake, rows, EvaluationSet(name="test", corpora=("d",), rows="all"))
    assert ("audio", "b", "b") in found
    assert {name for _, name, _ in found} == {"b"}


def test_findings_of_a_set_that_is_gone_go_too(lake):
    rows = [row("a", audio="one"), row("b", "test", audio="one")]
    check(lake, rows, EvaluationSet(name="old"))
    check(lake, rows, EvaluationSet(name="new"))
    assert lake.read_table("leakage")["evaluation_set"].unique().to_list() == ["new"]


def test_a_second_run_over_the_same_rows_does_nothing_and_changed_rows_are_checked_again(lake):
    rows = [row("a", audio="one"), row("b", "test", audio="two")]
    evaluation = Evaluation()
    corpora = fill(lake, rows)
    assert [check_leakage(lake, evaluation, corpora, {}).recomputed for _ in range(2)] == [True, False]
    fill(lake, [row("a", audio="two"), rows[1]])
    assert check_leakage(lake, evaluation, corpora, {}).recomputed
    assert verdict(lake).blocked == 1


def test_without_a_declaration_what_is_held_out_is_the_set_and_words_are_only_reported(lake):
    rows = [row("a", text="seven", speaker="s"), row("b", "test", text="seven", speaker="s")]
    check_leakage(lake, Evaluation(), fill(lake, rows), {})
    assert lake.read_table("leakage").select("evaluation_set", "rule", "action").rows() == [
        ("held_out", "text", "report")
    ]
    assert verdict(lake).passed


def test_a_corpus_without_fingerprints_is_named(lake):
    corpora = fill(lake, [row("a"), row("b", "test")])
    lake.remove_table("audio_fingerprints", "c")
    with pytest.raises(MissingTableError, match="audio_fingerprints has no partition 'c'"):
        check_leakage(lake, Evaluation(), corpora, {})


def test_hostile_names_are_only_names(lake):
    name = "a'); DROP VIEW utterances; --"
    rows = [row(name, audio="one", speaker="x' OR '1'='1"), row("b", "test", audio="one", corpus="d")]
    assert check(lake, rows, speakers={"c": ["x' OR '1'='1"]}) == {("audio", name, "b")}


@pytest.mark.parametrize(
    "value",
    [
        {"sets": []},
        {"sets": [{"name": "a"}, {"name": "a"}]},
        {"sets": [{"name": "mixtures"}]},
        {"sets": [{"name": "a", "rules": {"audio": "forbid"}}]},
        {"sets": [{"name": "a", "rules": {"pitch": "block"}}]},
    ],
)
def test_faulty_declarations_are_refused(value):
    with pytest.raises(ValidationError):
        Evaluation.model_validate(value)
