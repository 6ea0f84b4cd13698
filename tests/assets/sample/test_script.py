"""What is said: a closed grammar, drawn with a seed, without repetitions."""

from __future__ import annotations

import pytest

from assets.sample.grammar import english_texts, mandarin_texts
from assets.sample.questions import all_questions
from assets.sample.script import Script, write_script
from assets.sample.synthesis import SampleError
from assets.sample.voices import ANSWERING_VOICE, COMMAND_VOICES, HELD_OUT_SPEAKER, MANDARIN_VOICES


@pytest.fixture(scope="module")
def script() -> Script:
    return write_script(utterances=1000, seed=0)


def prompts(script: Script) -> list[tuple[str, str]]:
    takes = [u.take for u in (*script.commands, *script.mandarin)] + [
        q.question for q in script.spoken_questions
    ]
    return [(take.text, take.voice.speaker) for take in takes]


def test_grammar_is_closed_and_small_enough_for_the_tiny_model() -> None:
    spoken = [text for _, text in english_texts()] + [question.text for question in all_questions()]
    words = {word for text in spoken for word in text.split()}
    assert 50 <= len(words) <= 70
    assert 30 <= len({character for text in mandarin_texts() for character in text}) <= 40


def test_grammar_says_nothing_twice() -> None:
    texts = (
        [text for _, text in english_texts()]
        + mandarin_texts()
        + [question.text for question in all_questions()]
    )
    assert len(texts) == len(set(texts))


def test_every_question_has_one_answer_that_follows_from_it() -> None:
    answers = {question.text: question.answer for question in all_questions()}
    assert answers["what is two plus three"] == answers["tell me two plus three"] == "five"
    assert answers["what comes after tuesday"] == "wednesday"
    assert answers["what comes after sunday"] == "monday"
    assert answers["is red a color"] == answers["is a cat an animal"] == "yes"
    assert answers["is a cat a color"] == answers["is red an animal"] == "no"
    assert answers["what is the opposite of right"] == "left"
    assert all(len(answer.split()) == 1 for answer in answers.values())


def test_nobody_says_or_asks_the_same_twice(script: Script) -> None:
    said = prompts(script)
    assert len(said) == len(set(said))


def test_size_is_what_was_asked_for(script: Script) -> None:
    files = len(script.commands) + len(script.mandarin) + 2 * len(script.spoken_questions)
    assert files == 1000
    assert len(script.written_questions) >= 20


def test_at_least_six_voices_speak_two_languages(script: Script) -> None:
    speakers = {speaker for _, speaker in prompts(script)} | {ANSWERING_VOICE.speaker}
    assert len(speakers) == len(COMMAND_VOICES) + len(MANDARIN_VOICES) + 1 >= 6


def test_what_the_held_out_voice_says_is_said_by_others_too(script: Script) -> None:
    texts = {
        held: {u.take.text for u in script.commands if (u.take.voice.speaker == HELD_OUT_SPEAKER) == held}
        for held in (True, False)
    }
    assert texts[True] <= texts[False]
    asked = {
        held: {
            q.question.text
            for q in script.spoken_questions
            if (q.question.voice.speaker == HELD_OUT_SPEAKER) == held
        }
        for held in (True, False)
    }
    assert asked[True]
    assert asked[True] <= asked[False]


def test_ids_are_unique_and_name_the_speaker(script: Script) -> None:
    named = [(u.utterance_id, u.take.voice.speaker) for u in (*script.commands, *script.mandarin)]
    named += [(q.row_id, q.question.voice.speaker) for q in script.spoken_questions]
    assert len({identifier for identifier, _ in named}) == len(named)
    assert all(identifier.startswith(f"{speaker}-") for identifier, speaker in named)


def test_same_seed_gives_the_same_script_and_another_seed_another() -> None:
    assert write_script(200, seed=3) == write_script(200, seed=3)
    assert write_script(200, seed=3) != write_script(200, seed=4)


@pytest.mark.parametrize(
    ("utterances", "message"), [(59, "at least 60"), (5000, "ask for fewer --utterances")]
)
def test_sizes_that_the_grammar_cannot_meet_are_refused(utterances: int, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        write_script(utterances, seed=0)
