"""Texts are put into normal form, and each thing wrong with one is a reason with value and limit."""

from __future__ import annotations

import polars as pl
import pytest

from assets.corpora.acceptance import accept
from validation.ledger import OUTCOME_OF, balance, read_ledger

SENTENCE = "the cat sat on the mat"


@pytest.fixture
def spoken(lake, make, tmp_path):
    """Run a corpus of these texts, each on a second of sound; its ledger by the texts' numbers."""

    def run(texts: list[str], **entry) -> dict[str, dict]:
        corpus = make.ljspeech(tmp_path / "c", [(f"u{index}", text) for index, text in enumerate(texts)])
        made = make.entry("ljspeech", corpus.root, **entry)
        make.run_all(made, lake)
        assert balance(lake, "made").holds
        return {row["utterance_id"]: row for row in read_ledger(lake, "made").to_dicts()}

    return run


@pytest.mark.parametrize(
    ("text", "reason", "value", "limit"),
    [
        ("the cat\x07 sat", "control_characters", 1.0, 0.0),
        ("the \ufffd\ufffd sat", "control_characters", 2.0, 0.0),
        ("кот сидел на ковре", "wrong_script", 0.0, 0.5),
        ("no no no no no no no no no no no no", "repetitive_text", 0.9, 0.6),
        ("a blasted cat, blasted mat", "unwanted_words", 2.0, 0.0),
        ("x" * 90, "text_too_long", 90.0, 40.0),
    ],
)
def test_what_is_wrong_with_a_text_is_told(spoken, text, reason, value, limit):
    rows = spoken([SENTENCE, text], thresholds={"unwanted_words": ["blasted"]})
    assert rows["u0"]["outcome"] == "accepted"
    found = rows["u1"]
    assert (found["reason"], found["value"], found["limit"]) == (reason, pytest.approx(value), limit)
    assert found["outcome"] == OUTCOME_OF[found["reason"]]
    assert "metadata.csv:2" in found["detail"]


def test_an_accepted_text_is_in_normal_form_and_the_corpus_own_stays_in_the_raw_table(spoken, lake):
    spoken(["cafe\u0301  au\u00a0lait"])
    assert lake.read_table("accepted_utterances", "made")["text"].to_list() == ["café au lait"]
    assert lake.read_table("raw_utterances", "made")["text"].to_list() == ["cafe\u0301  au\u00a0lait"]


def test_a_sentence_that_too_many_rows_have_is_a_template(spoken):
    rows = spoken([SENTENCE] * 5 + ["another sentence of words"], thresholds={"max_text_occurrences": 4})
    assert [row["reason"] for row in rows.values()] == ["template_text"] * 5 + ["accepted"]
    assert rows["u0"]["value"] == 5.0


def test_a_rate_unlike_the_corpus_own_is_an_outlier_though_within_the_limits(spoken):
    usual = [f"some words, so many of them{'.' * (index % 4)}" for index in range(60)]
    rows = spoken([*usual, "oh"])
    assert rows["u60"]["reason"] == "text_rate_outlier"
    assert {rows[f"u{index}"]["reason"] for index in range(60)} == {"accepted"}


def test_noise_that_is_tolerated_is_told_and_kept(lake, make, tmp_path):
    entry = make.ljspeech(tmp_path / "c", [("long", SENTENCE), ("short", SENTENCE)])
    make.speech(tmp_path / "c" / "wavs" / "long.wav", seconds=4.0)
    make.run_all(make.entry("ljspeech", entry.root, thresholds={"note_snr_db": 99.0}), lake)
    rows = {row["utterance_id"]: row for row in read_ledger(lake, "made").to_dicts()}
    noted = rows["long"]
    assert (noted["reason"], noted["outcome"], noted["limit"]) == ("background_noise", "accepted", 99.0)
    assert rows["short"]["reason"] == "accepted"
    assert lake.read_table("accepted_utterances", "made").height == 2


def test_a_conversation_without_sound_is_measured_by_what_it_says(lake, make, tmp_path):
    rows = [
        {
            "id": name,
            "messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": answer}],
        }
        for name, answer in (("good", "it is four"), ("bad", "it is blasted four"))
    ]
    entry = make.jsonl(tmp_path / "c", rows, thresholds={"unwanted_words": ["blasted"]})
    make.run_all(entry, lake)
    found = dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows())
    assert found == {"good": "accepted", "bad": "unwanted_words"}


def test_the_language_of_a_text_is_asked_only_where_a_corpus_wants_it(spoken, lake, make):
    german = "der schnelle braune Fuchs springt über den faulen Hund"
    limits = {"max_chars_per_second": {"default": 100.0}}
    assert spoken([german], thresholds=limits)["u0"]["outcome"] == "accepted"
    root = lake.read_table("raw_utterances", "made")["audio_uri"][0].split("/wavs/")[0]
    assert accept(make.entry("ljspeech", root, models={"language": True}, thresholds=limits), lake).recomputed
    row = read_ledger(lake, "made").filter(pl.col("utterance_id") == "u0").row(0, named=True)
    assert row["reason"] == "wrong_language" and row["value"] < 0.1 == row["limit"]
