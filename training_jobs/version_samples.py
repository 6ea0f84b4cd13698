"""Five replies of an evaluation to listen to, chosen by a rule: prompt, reply, what was wanted and what was heard.

The rule looks at errors only: of the replies in Boost that should be spoken, those to questions and those that read a
text aloud each in the order of their error rates, the first, the last, and some at even distances between them. Nothing
is picked by ear.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from training_jobs.version_sounds import NoSound, Sound, audio_tokenizer, sound_of_tokens, stored_sound
from validation.augmentation.table import AUDIO_MARKER
from validation.batches import database, files_of
from validation.lake import Lake

if TYPE_CHECKING:
    from models.tokenizers.interface import AudioTokenizer

MODE = "boost"  # in which the model is served
COUNT = 5
_OF_QUESTIONS = 3  # of them, where replies of both kinds are there
_PLACES: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("median",),
    2: ("best", "worst"),
    3: ("best", "median", "worst"),
    4: ("best", "lower third", "upper third", "worst"),
    5: ("best", "lower quarter", "median", "upper quarter", "worst"),
}
_SPOKEN = ("sqa", "tts")
_TASKS = {"sqa": "to spoken questions", "tts": "that read a text aloud", "asr": "that transcribe"}


@dataclass(frozen=True)
class Sample:
    """One reply.

    Attributes:
        place: such as ``median``; ``rank`` of ``of`` of its task in the order of error rates, the best is 1.
        prompt_text: what was asked in writing; ``None`` where the lake has no such row any more.
        prompt: what was asked aloud; ``None`` where nothing was.
        reply: what was answered aloud; ``None`` where nothing should be.
        expected: text; ``written``: the reply's own text, of an answer to a question or a transcription.
        heard: transcripts of the reply's speech, by who has heard it.
        errors: of ``units``, in the text that is scored.
    """

    place: str
    rank: int
    of: int
    task: str
    corpus: str
    row_id: str
    language: str
    speaker_group: str
    prompt_text: str | None
    prompt: Sound | NoSound | None
    reply: Sound | NoSound | None
    expected: str
    written: str | None
    heard: dict[str, str]
    errors: int
    units: int
    unit: str
    exact: bool
    ended: bool

    @property
    def rate(self) -> float | None:
        """Errors per unit; ``None`` where the reference has none."""
        return self.errors / self.units if self.units else None


@dataclass(frozen=True)
class Samples:
    """The five, by which rule they were chosen, and why there are fewer or none (empty: there are not)."""

    chosen: Sequence[Sample]
    rule: str
    missing: str = ""


def samples_of(table: pl.DataFrame, lake: Lake, tokenizer_dir: Path | None) -> Samples:
    """Choose the samples, and make what can be heard of them.

    Args:
        table: ``rows.parquet`` of the evaluation.
        tokenizer_dir: the audio tokenizer, which makes sound of a reply's tokens; ``None``: it is not there any more.
    """
    asked = table.filter(mode=MODE)
    by_task = {task: sorted(asked.filter(task=task).to_dicts(), key=_key) for task in _TASKS}
    if any(by_task[task] for task in _SPOKEN):
        by_task["asr"] = []
    counts = _counts({task: len(rows) for task, rows in by_task.items()})
    picked = [
        (rows[at], name, at + 1, len(rows))
        for task, rows in by_task.items()
        for name, at in _places(counts[task], len(rows))
    ]
    rule = _rule(counts, {task: len(rows) for task, rows in by_task.items()})
    if not picked:
        return Samples([], "", f"no row was answered in {MODE.capitalize()}")
    prompts = _prompts(lake, [row for row, *_ in picked])
    tokenizer = audio_tokenizer(tokenizer_dir)
    chosen = [_sample(row, (name, rank, of), prompts, lake, tokenizer) for row, name, rank, of in picked]
    few = f"only {len(chosen)} replies were scored, so there are fewer than {COUNT} samples"
    return Samples(chosen, rule, few if len(chosen) < COUNT else "")


def _counts(rows: dict[str, int]) -> dict[str, int]:
    """How many samples of each task: three of questions and two of texts, more of one where the other has fewer."""
    questions = min(_OF_QUESTIONS, rows["sqa"])
    texts = min(COUNT - questions, rows["tts"])
    questions = min(COUNT - texts, rows["sqa"])
    return {"sqa": questions, "tts": texts, "asr": min(COUNT, rows["asr"])}


def _places(count: int, rows: int) -> list[tuple[str, int]]:
    """Names and indices of ``count`` rows at even distances, both ends among them; a single one is in the middle."""
    if count == 1:
        return [(_PLACES[1][0], (rows - 1) // 2)]
    return [(name, round(at * (rows - 1) / (count - 1))) for at, name in enumerate(_PLACES[count])]


def _rule(counts: dict[str, int], rows: dict[str, int]) -> str:
    parts = [
        f"{', '.join(_PLACES[count])} of the {rows[task]} replies {_TASKS[task]}"
        for task, count in counts.items()
        if count
    ]
    return (
        f"{'; '.join(parts)}: in {MODE.capitalize()}, in which the model is served, each task in the order of its "
        "error rates (word errors, or character errors where the language has no spaces, by the reference's units; "
        "ties by a hash of the row's name), at even distances from the first to the last. Silent replies are among "
        "them. Nobody has picked them."
    )


def _key(row: dict[str, Any]) -> tuple[float, str]:
    name = f"{row['task']}\0{row['corpus']}\0{row['row_id']}"
    return row["word_errors"] / max(1, row["words"]), hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True)
class _Prompt:
    """What a row asks: its text, and the path of its last recording, or why there is none."""

    text: str
    path: str | NoSound | None


def _prompts(lake: Lake, rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], _Prompt]:
    corpora = sorted({row["corpus"] for row in rows if lake.has_table("training_rows", row["corpus"])})
    if not corpora:
        return {}
    with database(lake) as connection:
        found = connection.execute(
            f"""SELECT corpus, row_id, messages, audio_digests FROM {files_of(lake, "training_rows", corpora)}
            WHERE list_contains(?, row_id)""",  # noqa: S608 - the paths are quoted
            [[row["row_id"] for row in rows]],
        ).fetchall()
        digests = sorted({digest for *_, audio in found for digest in audio})
        kept = [corpus for corpus in corpora if lake.has_table("accepted_utterances", corpus)]
        stored: dict[str, str] = {}
        if kept:
            files = files_of(lake, "accepted_utterances", kept)
            stored = dict(
                connection.execute(
                    f"SELECT audio_digest, min(audio_path) FROM {files} "  # noqa: S608 - likewise
                    "WHERE list_contains(?, audio_digest) GROUP BY audio_digest",
                    [digests],
                ).fetchall()
            )
    prompts = {}
    for corpus, row_id, messages, audio in found:
        *asked, _reply = json.loads(messages)
        markers = sum(message["content"].count(AUDIO_MARKER) for message in asked)
        text = "\n".join(f"{one['role']}: {one['content']}" for one in asked)
        path = None
        if markers:
            path = stored.get(audio[markers - 1]) or NoSound("the lake has its recording no more")
        prompts[corpus, row_id] = _Prompt(text.replace(AUDIO_MARKER, "[audio]"), path)
    return prompts


def _sample(
    row: dict[str, Any],
    place: tuple[str, int, int],
    prompts: dict[tuple[str, str], _Prompt],
    lake: Lake,
    tokenizer: AudioTokenizer | NoSound,
) -> Sample:
    prompt = prompts.get((row["corpus"], row["row_id"]))
    own = row["hypothesis"] if row["task"] == "tts" else row["read_back"]
    heard = {"the model itself": own, "the ASR model": row["heard"]}
    sound: Sound | NoSound | None = NoSound("the lake has no such row any more")
    if prompt is not None:
        sound = stored_sound(lake, prompt.path) if isinstance(prompt.path, str) else prompt.path
    name, rank, of = place
    return Sample(
        place=name,
        rank=rank,
        of=of,
        task=row["task"],
        corpus=row["corpus"],
        row_id=row["row_id"],
        language=row["language"],
        speaker_group=row["speaker_group"],
        prompt_text=None if prompt is None else prompt.text,
        prompt=sound,
        reply=None if row["task"] == "asr" else sound_of_tokens(row.get("spoken"), tokenizer),
        expected=row["reference"],
        written=None if row["task"] == "tts" else row["hypothesis"],
        heard={who: text for who, text in heard.items() if text is not None},
        errors=row["word_errors"],
        units=row["words"],
        unit=row["unit"],
        exact=row["exact"],
        ended=row["ended"],
    )
