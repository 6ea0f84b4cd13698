"""Spoken replies as others hear them: decoded to a waveform, then recognised by Whisper and graded by DNSMOS.

Nothing listens unless the profile says so (``evaluation.asr_model``, ``evaluation.mos``): the model itself always does.
Shapes: N samples.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow
from training_jobs.evaluation_worker import Answer
from training_jobs.listened import Listened, RowKey
from training_jobs.reporting import Reporter
from validation.listening.config import LISTENING_RATE_HZ, ModelMeasures
from validation.listening.listener import listener

if TYPE_CHECKING:
    from models import AudioTokenizer

_DECODED_RATE_HZ = 22_050
_WORST_MOS = 1.0
_tokenizer: AudioTokenizer | None = None


def listen(
    rows: Sequence[EvaluationRow],
    answers: Sequence[Answer],
    tokenizer_dir: Path,
    models: ModelMeasures | None,
    report: Reporter,
) -> dict[RowKey, Listened]:
    """What is heard of each reply that should be spoken; a silent one is heard as nothing, and graded worst.

    Raises:
        EvaluationError: if one of the listening processes died.
    """
    if models is None:
        return {}
    languages = {(row.corpus, row.row_id, row.task): row.language for row in rows}
    spoken = [
        _Speech(answer.spoken, languages[answer.corpus, answer.row_id, answer.task])
        for answer in answers
        if answer.task != "asr"
    ]
    keys: list[RowKey] = [
        (answer.corpus, answer.row_id, answer.task, answer.mode) for answer in answers if answer.task != "asr"
    ]
    report.log(f"listening to {len(spoken)} spoken replies")
    workers = max(1, min(len(os.sched_getaffinity(0)), len(spoken)))
    try:
        with ProcessPoolExecutor(
            workers, multiprocessing.get_context("forkserver"), _start, (tokenizer_dir,)
        ) as pool:
            heard = list(pool.map(_hear, spoken, [models] * len(spoken)))
    except BrokenProcessPool as error:
        raise EvaluationError(
            f"one of {workers} listening processes died: a model could not be loaded, of which the lines above speak, "
            "or the memory ran out"
        ) from error
    # The ASR model does not know the language, so that silence in it is no failure of this figure either.
    unknown = {one.language for one, found in zip(spoken, heard, strict=True) if found.heard is None}
    return {
        key: replace(found, heard=None) if one.language in unknown else found
        for key, one, found in zip(keys, spoken, heard, strict=True)
    }


@dataclass(frozen=True)
class _Speech:
    """A reply's audio token numbers, and the language that it should be in."""

    codes: tuple[int, ...]
    language: str


def _start(tokenizer_dir: Path) -> None:
    global _tokenizer
    from models import load_audio_tokenizer

    _tokenizer = load_audio_tokenizer(tokenizer_dir)


def _hear(speech: _Speech, models: ModelMeasures) -> Listened:
    import soxr

    assert _tokenizer is not None, "_start() has not run in this process"
    # A number that the tokenizer does not have is no sound: the model was trained with room for more of them.
    codes = [code for code in speech.codes if code < _tokenizer.vocabulary_size]
    if not codes:
        heard = None if models.transcript is None else ""
        return Listened(heard=heard, mos=_WORST_MOS if models.mos else None)
    samples_N = soxr.resample(_tokenizer.decode(codes), _DECODED_RATE_HZ, LISTENING_RATE_HZ)
    found = listener(models).listen(samples_N, speech.language)
    mos = found.mos if found.mos is not None or not models.mos else _WORST_MOS
    return Listened(heard=found.heard_text, mos=mos)
