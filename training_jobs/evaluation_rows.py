"""Which held-out rows are scored, and what is asked of the model for each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from training_jobs.rows import AUDIO_MARKER, SPEAK_INSTRUCTION
from validation.batches import database, files_of
from validation.digests import digest_value
from validation.errors import UserError
from validation.lake import Lake

EvaluationTask = Literal["asr", "sqa", "tts"]
SpeakerGroup = Literal["known", "unseen", "unstated"]
Tokens = tuple[list[int], float]  # of a recording: token numbers, and how long it is in seconds
ANSWERS = "answers"  # in a row's metadata, a list of texts as JSON
UNKNOWN_SPEAKER = "unknown"  # what the readers write where a corpus names none


class EvaluationError(UserError):
    """Held-out rows that cannot be scored as they stand; names the row and what is missing."""


@dataclass(frozen=True)
class EvaluationRow:
    """One held-out row.

    Attributes:
        task: transcription, spoken question answering, or speech synthesis.
        speaker_group: ``known`` where the speaker occurs in the training split of the row's corpus, ``unstated``
            where the corpus names no speaker.
        messages: the turns up to the reply that is asked for.
        audio_tokens: token numbers, one list per ``<|audio|>`` marker in ``messages``.
        reference: the text that the reply should hold, or for synthesis the text it should speak.
        answers: other texts that are as right, where a question has several (``answers`` of its metadata).
        wants_speech: whether a reply without speech is a failure to answer aloud.
        seconds: of the audio in ``messages``; for synthesis of the recording of its text.
        snr_db: signal-to-noise ratio of what the model hears, the worst of the row's recordings; ``None`` where it
            hears nothing, or the ratio was not measured.
    """

    row_id: str
    corpus: str
    language: str
    speaker: str
    task: EvaluationTask
    speaker_group: SpeakerGroup
    messages: list[dict[str, str]]
    audio_tokens: list[list[int]]
    reference: str
    answers: tuple[str, ...] = ()
    wants_speech: bool = True
    seconds: float | None = None
    snr_db: float | None = None

    @property
    def slice_key(self) -> tuple[str, str, str, str]:
        """Task, corpus, language and speaker group."""
        return (self.task, self.corpus, self.language, self.speaker_group)


@dataclass(frozen=True)
class HeldOut:
    """The rows to score, and how many held-out rows were left out for which reason."""

    rows: list[EvaluationRow]
    left_out: dict[str, int]

    @property
    def digest(self) -> str:
        """Which rows, with which references; not how they are heard."""
        return digest_value([[*row.slice_key, row.row_id, row.reference] for row in self.rows])


def held_out_rows(
    lake: Lake,
    corpora: Sequence[str],
    tokenizer_digest: str,
    max_rows_per_slice: int,
    seed: int,
    limits: Mapping[str, int | None] | None = None,
) -> HeldOut:
    """The rows of split ``test`` that have a task to score, at most ``max_rows_per_slice`` per slice.

    ``limits`` has other limits of some corpora, ``None`` for all rows: of the standard sets, whose questions are to be
    answered aloud.

    Which rows of a large slice are taken follows from the hash of seed, corpus and row id: the same ones whenever
    the row is there, whatever else was added or dropped.

    Raises:
        EvaluationError: if no row is held out, or audio tokens of this tokenizer are missing.
        validation.lake.MissingTableError: if a corpus has not been prepared.
    """
    limits = limits or {}
    table = pl.concat([lake.read_table("training_rows", corpus) for corpus in corpora])
    heard = set(table.filter(pl.col("split") == "train").select("corpus", "speaker").iter_rows())
    slices: dict[tuple[str, ...], list[tuple[str, dict[str, Any], EvaluationRow]]] = {}
    left_out: Counter[str] = Counter()
    for record in table.filter(pl.col("split") == "test").iter_rows(named=True):
        row = _question(record, _speaker_group(record, heard))
        if isinstance(row, str):
            left_out[row] += 1
        else:
            row = replace(row, wants_speech=row.wants_speech or row.corpus in limits)
            slices.setdefault(row.slice_key, []).append((_rank(row, seed), record, row))
    taken = []
    for key in sorted(slices):
        ranked = sorted(slices[key], key=lambda entry: entry[0])
        most = limits.get(key[1], max_rows_per_slice)
        taken += ranked[:most]
        left_out["beyond max_rows_per_slice"] += 0 if most is None else len(ranked[most:])
    if not taken:
        raise EvaluationError(
            f"nothing to evaluate: corpora {list(corpora)} in {lake.url} have no held-out row (split test) with a "
            "transcript, a spoken question or a text to speak; add a split rule to the corpora file"
        )
    tokens = stored_tokens(lake, corpora, tokenizer_digest, [record for _, record, _ in taken])
    rows = [_with_tokens(row, record, tokens, tokenizer_digest) for _, record, row in taken]
    return HeldOut(rows, {reason: count for reason, count in left_out.items() if count})


def _speaker_group(record: Mapping[str, Any], heard: set[tuple[str, str]]) -> SpeakerGroup:
    if record["speaker"] == UNKNOWN_SPEAKER:
        return "unstated"
    return "known" if (record["corpus"], record["speaker"]) in heard else "unseen"


def _question(record: Mapping[str, Any], group: SpeakerGroup) -> EvaluationRow | str:
    """What to ask for a row, its audio tokens still missing; or why it is not scored."""
    messages: list[dict[str, str]] = json.loads(record["messages"])
    *prompt, reply = messages
    if reply["role"] != "assistant":
        return "last turn is not the assistant's"
    asked = prompt[-1]["content"] if prompt else ""
    task: EvaluationTask
    if record["task"] == "asr":
        task, reference = "asr", reply["content"]
    elif record["task"] == "tts":
        task, reference = "tts", asked.removeprefix(SPEAK_INSTRUCTION)
    elif record["task"] == "conversation" and AUDIO_MARKER in asked:
        task, reference = "sqa", reply["content"].replace(AUDIO_MARKER, "")
    else:
        return f"{record['task']} without a spoken question"
    if not reference.strip():
        return f"{record['task']} without a reference text"
    return EvaluationRow(
        row_id=record["row_id"],
        corpus=record["corpus"],
        language=record["language"],
        speaker=record["speaker"],
        task=task,
        speaker_group=group,
        messages=prompt,
        audio_tokens=[],
        reference=reference.strip(),
        answers=_answers(record) if task == "sqa" else (),
        wants_speech=task == "tts" or AUDIO_MARKER in reply["content"],
        seconds=record["seconds"],
        snr_db=None if task == "tts" else record.get("snr_db"),
    )


def _answers(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row's metadata names as right besides its reply.

    Raises:
        EvaluationError: if it is not a list of texts.
    """
    stated = json.loads(record.get("metadata") or "{}").get(ANSWERS)
    if stated is None:
        return ()
    try:
        found = json.loads(stated)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise EvaluationError(
            f"row {record['row_id']!r} of corpus {record['corpus']!r}: metadata {ANSWERS} is {stated!r:.80}; wanted is "
            "a list of texts as JSON"
        )
    return tuple(found)


def _with_tokens(
    row: EvaluationRow, record: Mapping[str, Any], tokens: Mapping[str, Tokens], tokenizer_digest: str
) -> EvaluationRow:
    # Markers are counted over all turns in order, so the prompt's audios are the first ones.
    markers = sum(message["content"].count(AUDIO_MARKER) for message in row.messages)
    digests = record["audio_digests"][:markers]
    if lacking := [digest for digest in digests if digest not in tokens]:
        raise EvaluationError(
            f"row {row.row_id!r} of corpus {row.corpus!r}: audio {lacking[0]} has no tokens of tokenizer "
            f"{tokenizer_digest}; materialise audio_tokens with it"
        )
    found = [tokens[digest] for digest in digests]
    heard_s = sum(seconds for _, seconds in found) if found else row.seconds
    return replace(row, audio_tokens=[list(ids) for ids, _ in found], seconds=heard_s)


def stored_tokens(
    lake: Lake, corpora: Sequence[str], tokenizer_digest: str, records: Sequence[Mapping[str, Any]]
) -> dict[str, Tokens]:
    """Tokens and seconds of the records' recordings as stored, by digest; what is scored is never augmented."""
    present = [corpus for corpus in corpora if lake.has_table("audio_tokens", corpus)]
    if not present:
        return {}
    wanted = sorted({digest for record in records for digest in record["audio_digests"]})
    statement = (
        f"SELECT audio_digest, token_ids, duration_s FROM {files_of(lake, 'audio_tokens', present)} "  # noqa: S608
        "WHERE tokenizer_digest = ? AND augmentation_digest = '' AND list_contains(?, audio_digest)"
    )
    with database(lake) as connection:
        found = connection.execute(statement, [tokenizer_digest, wanted]).fetchall()
    return {digest: (ids, seconds) for digest, ids, seconds in found}


def _rank(row: EvaluationRow, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{row.corpus}\0{row.row_id}".encode()).hexdigest()
