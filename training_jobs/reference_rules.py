"""The figures that VITA-Audio's own evaluation would report of the same answers: beside ours, and never in the gate.

What it does otherwise than we do, as read in its evaluation scripts: a transcription may take as many tokens as its
reference has characters, and ten more; its words are compared in upper case, with their punctuation (Chinese by
characters, without it); questions and texts whose reply has no speech are left out; an answer is right where each
part of it that spaces divide is found anywhere in the reply. Replies of our own run are scored anew: greedy decoding
cut at a length is what it would have given with that limit.

Two tools that it takes are not ours: the text normaliser before the error rate of synthesis (Whisper's English one
stands in for it, and for its reading of number words), and Whisper large v3, for which the ASR model stands in that
listens here, or the model itself.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import jiwer

from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.evaluation_worker import REFERENCE_EXTRA_TOKENS, Answer
from training_jobs.listened import Listened, RowKey
from training_jobs.normalisation import normalise_pair, normaliser_of

_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation.replace("'", ""), " "))
_DIGITS = 6


def reference_rules(
    rows: Sequence[EvaluationRow], answers: Sequence[Answer], listened: Mapping[RowKey, Listened]
) -> dict[str, Any]:
    """Per mode the figures by these rules, how many replies they leave out, and what stands in for what."""
    by_key = {(row.corpus, row.row_id, row.task): row for row in rows}
    by_mode: dict[str, dict[str, float]] = {}
    for mode in sorted({answer.mode for answer in answers}):
        asked = [
            (by_key[answer.corpus, answer.row_id, answer.task], answer)
            for answer in answers
            if answer.mode == mode
        ]
        by_mode[mode] = _figures(asked, listened)
    listener = (
        "the ASR model" if any(one.heard is not None for one in listened.values()) else "the model itself"
    )
    return {
        "overall": by_mode,
        "limit": f"reference's characters + {REFERENCE_EXTRA_TOKENS} tokens",
        "listener": listener,
        "stands_in": "Whisper's English normaliser for the text normaliser and the number words of the reference",
    }


def _figures(
    asked: Sequence[tuple[EvaluationRow, Answer]], listened: Mapping[RowKey, Listened]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    transcripts = [(row, answer) for row, answer in asked if row.task == "asr"]
    figures |= _rate("asr_wer", [_transcribed(row, answer) for row, answer in transcripts])
    cut = [
        answer
        for row, answer in transcripts
        if answer.new_tokens > len(row.reference) + REFERENCE_EXTRA_TOKENS
    ]
    figures["asr_replies_cut"] = len(cut)

    spoken = [(row, answer) for row, answer in asked if row.task != "asr" and answer.audio_tokens]
    silent = [(row, answer) for row, answer in asked if row.task != "asr" and not answer.audio_tokens]
    figures["silent_replies_left_out"] = len(silent)
    figures |= _rate(
        "tts_wer",
        [_synthesised(row, _heard(answer, listened)) for row, answer in spoken if row.task == "tts"],
    )
    questions = [(row, answer) for row, answer in spoken if row.task == "sqa"]
    if questions:
        text = [contains(row, answer.hypothesis or "") for row, answer in questions]
        speech = [contains(row, _heard(answer, listened)) for row, answer in questions]
        figures["sqa_contains"] = round(sum(text) / len(text), _DIGITS)
        figures["sqa_spoken_contains"] = round(sum(speech) / len(speech), _DIGITS)
    return figures


def contains(row: EvaluationRow, said: str) -> bool:
    """Whether each part of an answer is somewhere in the reply, as a piece of a word too."""
    reply = said.lower()
    for answer in (row.reference, *row.answers):
        wanted = answer.translate(_PUNCTUATION).lower().strip()
        numbers = normalise_pair(answer, "", row.language)[0]
        if any(all(part in reply for part in parts.split(" ")) for parts in (wanted, numbers) if parts):
            return True
    return False


def _heard(answer: Answer, listened: Mapping[RowKey, Listened]) -> str:
    one = listened.get((answer.corpus, answer.row_id, answer.task, answer.mode))
    if one is not None and one.heard is not None:
        return one.heard
    return (answer.hypothesis if answer.task == "tts" else answer.read_back) or ""


def _transcribed(row: EvaluationRow, answer: Answer) -> tuple[str, str]:
    said = answer.capped or ""
    if normaliser_of(row.language).unit == "character":
        return _characters(row.reference), _characters(said)
    return row.reference.upper(), said.upper()


def _synthesised(row: EvaluationRow, heard: str) -> tuple[str, str]:
    wanted, said = normalise_pair(row.reference, heard, row.language)
    return re.sub(r"\W+", " ", wanted), re.sub(r"\W+", " ", said)


def _characters(text: str) -> str:
    kept = (one for one in text.upper() if not unicodedata.category(one).startswith(("P", "Z", "C")))
    return " ".join(kept)


def _rate(name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    wanted = [(reference, said) for reference, said in pairs if reference.strip()]
    if not wanted:
        return {}
    found = jiwer.process_words([reference for reference, _ in wanted], [said for _, said in wanted])
    return {name: round(found.wer, _DIGITS)}
