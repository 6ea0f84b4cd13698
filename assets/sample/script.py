"""Who says what in the sample corpora, drawn with a seed: nobody says or asks the same twice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from assets.sample.grammar import Topic, english_texts, mandarin_texts
from assets.sample.questions import Question, all_questions
from assets.sample.synthesis import SampleError, Take
from assets.sample.voices import ANSWERING_VOICE, ASKING_VOICES, COMMAND_VOICES, MANDARIN_VOICES, Voice

# Shares of the audio files; a spoken question has two, itself and its answer.
_COMMAND_SHARE = 0.46
_MANDARIN_SHARE = 0.14
_WRITTEN_PER_SPOKEN_QUESTION = 1 / 7
# Fewer leave no room for the planted faults beside good rows of every voice.
_FEWEST_UTTERANCES = 60
_LARGEST_PACE_OFFSET = 4  # words per minute
_LARGEST_PITCH_OFFSET = 3  # of eSpeak NG's hundred steps

T = TypeVar("T")


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus of single utterances."""

    utterance_id: str
    topic: Topic | None
    take: Take


@dataclass(frozen=True)
class SpokenQuestion:
    """A question asked and answered aloud."""

    row_id: str
    question: Take
    answer: Take


@dataclass(frozen=True)
class WrittenQuestion:
    """A question asked and answered in writing, some of them under a system message."""

    row_id: str
    question: Question
    has_system_message: bool


@dataclass(frozen=True)
class Script:
    """All that is said."""

    commands: tuple[Utterance, ...]
    mandarin: tuple[Utterance, ...]
    spoken_questions: tuple[SpokenQuestion, ...]
    written_questions: tuple[WrittenQuestion, ...]


def write_script(utterances: int, seed: int) -> Script:
    """Draw about ``utterances`` takes from the grammar.

    Raises:
        SampleError: if the grammar has fewer (text, speaker) pairs than asked for, or the faults leave no room.
    """
    if utterances < _FEWEST_UTTERANCES:
        raise SampleError(f"--utterances {utterances}: at least {_FEWEST_UTTERANCES} are needed")
    rng = random.Random(seed)
    commands = round(_COMMAND_SHARE * utterances)
    mandarin = round(_MANDARIN_SHARE * utterances)
    questions = (utterances - commands - mandarin) // 2
    spoken = _draw("questions", all_questions(), ASKING_VOICES, questions, rng)
    written = rng.sample(
        all_questions(), min(len(all_questions()), round(_WRITTEN_PER_SPOKEN_QUESTION * questions))
    )
    return Script(
        commands=_commands(commands, rng),
        mandarin=tuple(
            Utterance(f"{voice.speaker}-{number:04d}", None, _take(text, voice, rng))
            for number, (text, voice) in enumerate(
                _draw("Mandarin utterances", mandarin_texts(), MANDARIN_VOICES, mandarin, rng)
            )
        ),
        # The id names asker and kind, so that a query can group by them. Every answer is a take of its own: no
        # audio file belongs to two rows, hence none to both splits.
        spoken_questions=tuple(
            SpokenQuestion(
                f"{voice.speaker}-{question.kind}-{number:04d}",
                _take(question.text, voice, rng),
                _take(question.answer, ANSWERING_VOICE, rng),
            )
            for number, (question, voice) in enumerate(spoken)
        ),
        written_questions=tuple(
            WrittenQuestion(
                f"written-{question.kind}-{number:04d}", question, has_system_message=number % 2 == 1
            )
            for number, question in enumerate(written)
        ),
    )


def _commands(count: int, rng: random.Random) -> tuple[Utterance, ...]:
    """Utterances with LibriSpeech's ids, ``<speaker>-<chapter>-<number>``; a chapter holds one topic."""
    chapters: dict[Topic, int] = {"numbers": 1, "commands": 2, "sentences": 3}
    numbers: dict[str, int] = {}
    utterances = []
    for (topic, text), voice in _draw("English utterances", english_texts(), COMMAND_VOICES, count, rng):
        chapter = f"{voice.speaker}-{chapters[topic]}"
        numbers[chapter] = numbers.get(chapter, -1) + 1
        utterances.append(Utterance(f"{chapter}-{numbers[chapter]:04d}", topic, _take(text, voice, rng)))
    return tuple(utterances)


def _draw(
    what: str, texts: Sequence[T], voices: Sequence[Voice], count: int, rng: random.Random
) -> list[tuple[T, Voice]]:
    """``count`` different (text, voice) pairs, evenly over voices and nearly evenly over texts."""
    most = len(texts) * len(voices)
    if count > most:
        raise SampleError(f"{count} {what} asked for, but the grammar has {most}: ask for fewer --utterances")
    shuffled = rng.sample(texts, len(texts))
    pairs = []
    for index, voice in enumerate(voices):
        share = count // len(voices) + (index < count % len(voices))
        # Each voice starts elsewhere in the texts, so that what one leaves out the others say.
        start = index * len(texts) // len(voices)
        pairs += [(shuffled[(start + step) % len(texts)], voice) for step in range(share)]
    return pairs


def _take(text: str, voice: Voice, rng: random.Random) -> Take:
    pace = rng.randint(-_LARGEST_PACE_OFFSET, _LARGEST_PACE_OFFSET)
    pitch = rng.randint(-_LARGEST_PITCH_OFFSET, _LARGEST_PITCH_OFFSET)
    return Take(text, voice, pace, pitch)
