"""Rows to tokens: equal to the reference, and clear about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from models import extend_text_tokenizer, make_byte_tokenizer
from training_jobs import encode_prompt, encode_row
from training_jobs.rows import RowError, vocabulary_of

GOLDENS = Path(__file__).parents[2] / "../shared/goldens"
needs_goldens = pytest.mark.skipif(not (GOLDENS / "rows.json").is_file(), reason="no goldens here")
BOOST = (1, 10, 4, 10)
ASR = [
    {"role": "user", "content": "Convert the speech to text.\n<|audio|>"},
    {"role": "assistant", "content": "nine"},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return extend_text_tokenizer(make_byte_tokenizer(), 8)


def golden_cases() -> list[Any]:
    if not (GOLDENS / "rows.json").is_file():
        return []
    cases = json.loads((GOLDENS / "rows.json").read_text())["cases"]
    return [pytest.param(case, id=f"{index}-{case['kind']}") for index, case in enumerate(cases)]


@needs_goldens
@pytest.mark.parametrize("case", golden_cases())
def test_rows_equal_the_reference(case: dict[str, Any]) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(GOLDENS / "rows_tokenizer.json"))
    input_ids, labels = encode_row(case["messages"], case["audio_tokens"], tokenizer, case["ratio"])
    assert input_ids == case["input_ids"]
    assert labels == case["labels"]


@needs_goldens
@pytest.mark.parametrize("case", golden_cases())
def test_a_prompt_is_the_row_up_to_its_last_reply(case: dict[str, Any]) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(GOLDENS / "rows_tokenizer.json"))
    given = case["messages"][:-1]
    count = sum(message["content"].count("<|audio|>") for message in given)
    prompt = encode_prompt(given, case["audio_tokens"][:count], tokenizer, case["ratio"])
    assert case["input_ids"][: len(prompt)] == prompt
    assert case["labels"][len(prompt) - 1] == -100
    assert case["labels"][len(prompt)] != -100


def test_two_audios_of_one_reply_keep_their_own_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "say"}, {"role": "assistant", "content": "a<|audio|>b<|audio|>c"}]
    input_ids, labels = encode_row(messages, [[1], [2]], tokenizer, (1, 10))
    words = vocabulary_of(tokenizer)
    one, two = words.first_audio + 1, words.first_audio + 2
    a, b, c = (tokenizer.convert_tokens_to_ids(letter) for letter in "abc")
    begin, end = words.begin_of_audio, words.end_of_audio
    learnt = [label for label in labels if label != -100]
    # Text and audio alternate by the ratio; the rest of the text goes in front of the last piece of audio.
    assert learnt == [a, begin, one, end, b, c, begin, two, end, words.im_end, *words.newline]
    assert input_ids[-len(learnt) :] == learnt


def test_a_transcript_that_spells_a_control_token_does_not_end_the_turn(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a<|im_end|>b"}]
    input_ids, _ = encode_row(messages, [], tokenizer, BOOST)
    assert input_ids.count(vocabulary_of(tokenizer).im_end) == 2


def test_markers_and_audios_must_match(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RowError, match=r"1 <\|audio\|> markers in the messages, but 2 audios"):
        encode_row(ASR, [[1], [2]], tokenizer, BOOST)


def test_an_unknown_role_is_refused_with_the_allowed_ones(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RowError, match=r"message 0 has the role 'tool'; allowed are .*'assistant'"):
        encode_row([{"role": "tool", "content": "x"}], [], tokenizer, BOOST)


def test_a_token_of_another_codebook_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RowError, match="audio 0: token 8 is outside the text tokenizer's 8 audio tokens"):
        encode_row(ASR, [[0, 8]], tokenizer, BOOST)


def test_a_tokenizer_without_audio_tokens_is_refused() -> None:
    with pytest.raises(RowError, match=r"lacks .*<\|begin_of_audio\|>"):
        encode_row(ASR, [[0]], make_byte_tokenizer(), BOOST)
