"""The sample corpora on disk, in the layouts of real corpora."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from assets.sample.faults import Fault, PlantedFault, damage_file, damage_waveform, plant, written_text
from assets.sample.questions import SYSTEM_MESSAGE
from assets.sample.script import SpokenQuestion, Utterance, WrittenQuestion
from assets.sample.synthesis import Speech, Take
from assets.sample.voices import COMMAND_VOICES, HELD_OUT_SPEAKER

COMMANDS = "spoken_commands"
MANDARIN = "spoken_mandarin"
QUESTIONS = "spoken_questions"

_SUBSET = "sample-clean"
_LIBRISPEECH_RATE_HZ = 16_000
_LJSPEECH_RATE_HZ = 22_050
_QUESTION_RATE_HZ = 16_000
_ANSWER_RATE_HZ = 22_050
_MARKER = "<|audio|>"

_UTTERANCE_FAULTS: tuple[Fault, ...] = (
    "clipped", "silent", "truncated", "missing_file", "wrong_length", "empty_text", "duplicate_id",
)  # fmt: skip
_AUDIO_FAULTS: tuple[Fault, ...] = ("clipped", "silent", "truncated", "missing_file")
# In a conversation each fault is one of its answer.
_QUESTION_FAULTS: tuple[Fault, ...] = (*_AUDIO_FAULTS, "duplicate_id")

_HELD_OUT_VOICE = {"by": "field", "field": "speaker", "values": [HELD_OUT_SPEAKER]}

Progress = Callable[[], None]


class Corpora:
    """Writes the three corpora below ``directory`` and keeps the list of their faults."""

    def __init__(self, directory: Path, speech: Speech, seed: int, progress: Progress) -> None:
        self.faults: list[PlantedFault] = []
        self._directory = directory
        self._speech = speech
        self._rng = random.Random(seed)
        self._progress = progress

    def write_commands(self, utterances: Sequence[Utterance]) -> None:
        """LibriSpeech's layout: ``<subset>/<speaker>/<chapter>/<id>.flac`` and a ``.trans.txt`` per chapter.

        In lower case, unlike LibriSpeech: a byte-level model would have to learn the letters of the answers anew.
        """
        root = self._directory / COMMANDS
        # Everyone but the held-out voice, whose utterances are for scoring.
        candidates = [u.utterance_id for u in utterances if u.take.voice.speaker != HELD_OUT_SPEAKER]
        faults = plant(candidates, (*_UTTERANCE_FAULTS, *_AUDIO_FAULTS), self._rng)
        lines: dict[Path, list[str]] = defaultdict(list)
        for utterance in utterances:
            speaker, chapter, _ = utterance.utterance_id.split("-")
            folder = Path(_SUBSET) / speaker / chapter
            path = folder / f"{utterance.utterance_id}.flac"
            fault = self._record(
                COMMANDS, utterance.utterance_id, path, utterance.take, _LIBRISPEECH_RATE_HZ, faults
            )
            line = f"{utterance.utterance_id} {written_text(utterance.take.text, 'en', fault)}"
            lines[folder / f"{speaker}-{chapter}.trans.txt"] += _repeated(line, fault)
        for transcript, rows in lines.items():
            _write_lines(root / transcript, rows)
        speakers = [f"{v.speaker} | {v.sex} | {_SUBSET} | {v.name} ({v.espeak})" for v in COMMAND_VOICES]
        _write_lines(root / "SPEAKERS.TXT", [";ID | SEX | SUBSET | NAME", *speakers])

    def write_mandarin(self, utterances: Sequence[Utterance]) -> None:
        """LJSpeech's layout: ``metadata.csv`` (``id|text|normalised text``) and ``wavs/<id>.wav``."""
        root = self._directory / MANDARIN
        faults = plant([u.utterance_id for u in utterances], _UTTERANCE_FAULTS, self._rng)
        rows: list[str] = []
        for utterance in utterances:
            path = Path("wavs") / f"{utterance.utterance_id}.wav"
            fault = self._record(
                MANDARIN, utterance.utterance_id, path, utterance.take, _LJSPEECH_RATE_HZ, faults
            )
            text = written_text(utterance.take.text, "zh", fault)
            rows += _repeated(f"{utterance.utterance_id}|{text}|{text}", fault)
        _write_lines(root / "metadata.csv", rows)

    def write_questions(self, spoken: Sequence[SpokenQuestion], written: Sequence[WrittenQuestion]) -> None:
        """voxline's own rows: ``questions.jsonl`` with ``messages`` and ``audios``."""
        root = self._directory / QUESTIONS
        candidates = [row.row_id for row in spoken if row.question.voice.speaker != HELD_OUT_SPEAKER]
        faults = plant(candidates, _QUESTION_FAULTS, self._rng)
        rows: list[str] = []
        for row in spoken:
            question, answer = Path("questions") / f"{row.row_id}.wav", Path("answers") / f"{row.row_id}.wav"
            self._record(QUESTIONS, row.row_id, question, row.question, _QUESTION_RATE_HZ, {})
            fault = self._record(QUESTIONS, row.row_id, answer, row.answer, _ANSWER_RATE_HZ, faults)
            messages = [_message("user", _MARKER), _message("assistant", f"{row.answer.text}\n{_MARKER}")]
            value = {"id": row.row_id, "speaker": row.question.voice.speaker, "messages": messages}
            rows += _repeated(_json({**value, "audios": [question.as_posix(), answer.as_posix()]}), fault)
        for asked in written:
            system = [_message("system", SYSTEM_MESSAGE)] if asked.has_system_message else []
            turns = [_message("user", asked.question.text), _message("assistant", asked.question.answer)]
            rows.append(_json({"id": asked.row_id, "messages": [*system, *turns]}))
        _write_lines(root / "questions.jsonl", rows)

    def _record(
        self, corpus: str, identifier: str, path: Path, take: Take, rate_hz: int, faults: Mapping[str, Fault]
    ) -> Fault | None:
        """Speak the take into ``path`` (format by suffix, 16 bit), damaged if it is to be; return its fault."""
        fault = faults.get(identifier)
        waveform = soxr.resample(self._speech.speak(take), self._speech.rate_hz, rate_hz)
        # Resampling may overshoot full scale by a little.
        samples = damage_waveform(np.clip(waveform, -1.0, 1.0), fault)
        target = self._directory / corpus / path
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, samples, rate_hz, subtype="PCM_16")
        damage_file(target, fault)
        if fault is not None:
            self.faults.append(PlantedFault(corpus, identifier, path.as_posix(), fault))
        self._progress()
        return fault


def corpora_document() -> dict[str, Any]:
    """The corpora file that goes with the corpora: one voice and a tenth of the utterances are held out."""
    # eSpeak NG's licence covers the program, not what it says.
    common = {"licence": "CC0-1.0"}
    return {
        "corpora": [
            {
                "name": COMMANDS,
                "reader": "librispeech",
                "root": COMMANDS,
                **common,
                "language": "en",
                "tasks": ["asr", "tts"],
                "split": [_HELD_OUT_VOICE, _tenth("utterance_id")],
            },
            {
                "name": MANDARIN,
                "reader": "ljspeech",
                "root": MANDARIN,
                "options": {"metadata": "metadata.csv", "speaker_pattern": r"^(?P<speaker>[a-z]+)-"},
                **common,
                "language": "zh",
                "tasks": ["asr", "tts"],
                "split": [_tenth("utterance_id")],
            },
            {
                "name": QUESTIONS,
                "reader": "jsonl",
                "root": QUESTIONS,
                "options": {"files": "*.jsonl"},
                **common,
                "language": "en",
                # A question and its answer belong to the same split.
                "split": [_HELD_OUT_VOICE, _tenth("conversation_id")],
            },
        ]
    }


def _tenth(field: str) -> dict[str, Any]:
    return {"by": "hash", "field": field, "fraction": 0.1}


def _repeated(line: str, fault: Fault | None) -> list[str]:
    return [line, line] if fault == "duplicate_id" else [line]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
