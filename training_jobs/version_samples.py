"""Five replies of an evaluation to listen to, chosen by a rule: prompt, reply, what was wanted and what was heard.

The rule looks at errors only: of the replies in Boost that should be spoken, in the order of their error rates, the
first, the last, and those a quarter, half and three quarters of the way. Nothing is picked by ear.

Shapes: N samples.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import soundfile as sf
from numpy.typing import NDArray

from models.errors import ModelError
from training_jobs.lake_audio import StoredAudioError, read_waveform
from training_jobs.rows import AUDIO_MARKER
from validation.batches import database, files_of
from validation.lake import Lake
from validation.stored_audio import STORED_RATE_HZ

if TYPE_CHECKING:
    from models import AudioTokenizer

MODE = "boost"  # in which the model is served
PLACES = {"best": 0.0, "lower quarter": 0.25, "median": 0.5, "upper quarter": 0.75, "worst": 1.0}
LONGEST_S = 15.0  # of a player: 90 kB as MP3 and 120 kB on the page
_COMPRESSION = 0.75  # of libsndfile's scale: about 48 kbit/s at 22.05 kHz
_SPOKEN = ("sqa", "tts")
_LOUDEST = 0.99


@dataclass(frozen=True)
class Sound:
    """A player's MP3 in Base64, how much of the whole it holds, and what it is."""

    mp3: str
    seconds: float
    whole_s: float


@dataclass(frozen=True)
class NoSound:
    """Why there is none, for a person."""

    why: str


@dataclass(frozen=True)
class Sample:
    """One reply.

    Attributes:
        place: of :data:`PLACES`; ``rank`` of ``of`` in the order of error rates, the best is 1.
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
    spoken = asked.filter(pl.col("task").is_in(_SPOKEN))
    pool, which = (spoken, "that should be spoken") if spoken.height else (asked, "(none should be spoken)")
    rule = (
        f"The {pool.height} replies in {MODE.capitalize()} {which}, in the order of their error rates (word errors, or "
        "character errors where the language has no spaces, by units of the reference; ties by a hash of the row's "
        "name): the first, the last, and those a quarter, half and three quarters of the way. Nobody has picked them."
    )
    if not pool.height:
        return Samples([], rule, f"no row was answered in {MODE.capitalize()}")
    order = sorted(pool.to_dicts(), key=_key)
    at = {round(share * (len(order) - 1)): name for name, share in reversed(PLACES.items())}
    prompts = _prompts(lake, [order[number] for number in at])
    tokenizer = _tokenizer(tokenizer_dir)
    chosen = [
        _sample(order[number], (at[number], number + 1, len(order)), prompts, lake, tokenizer)
        for number in sorted(at)
    ]
    missing = (
        "" if len(chosen) == len(PLACES) else f"only {len(order)} replies were scored in this evaluation"
    )
    return Samples(chosen, rule, missing)


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
        sound = _stored(lake, prompt.path) if isinstance(prompt.path, str) else prompt.path
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
        reply=None if row["task"] == "asr" else _reply(row, tokenizer),
        expected=row["reference"],
        written=None if row["task"] == "tts" else row["hypothesis"],
        heard={who: text for who, text in heard.items() if text is not None},
        errors=row["word_errors"],
        units=row["words"],
        unit=row["unit"],
        exact=row["exact"],
        ended=row["ended"],
    )


def _stored(lake: Lake, path: str) -> Sound | NoSound:
    try:
        samples_N, rate_hz = read_waveform(lake, path)
    except StoredAudioError as error:
        return NoSound(str(error))
    return sound_of(samples_N, rate_hz) if samples_N.size else NoSound("its stored file is empty")


def _reply(row: dict[str, Any], tokenizer: AudioTokenizer | NoSound) -> Sound | NoSound:
    codes = row.get("spoken")
    if codes is None:
        return NoSound("the evaluation is of a version of voxline that kept no audio tokens of replies")
    if not codes:
        return NoSound("the reply is silent: it has no audio token")
    if isinstance(tokenizer, NoSound):
        return tokenizer
    known = [code for code in codes if code < tokenizer.vocabulary_size]
    if not known:
        return NoSound(f"none of its {len(codes)} audio tokens is one of the audio tokenizer's")
    first = known[: int(LONGEST_S * tokenizer.frame_rate)]
    try:
        samples_N = tokenizer.decode(first)
    except ModelError as error:
        return NoSound(str(error))
    return sound_of(samples_N, STORED_RATE_HZ, len(known) / tokenizer.frame_rate)


def _tokenizer(directory: Path | None) -> AudioTokenizer | NoSound:
    from models import load_audio_tokenizer

    if directory is None or not directory.is_dir():
        return NoSound("the audio tokenizer of the version is not there any more")
    try:
        return load_audio_tokenizer(directory)
    except ModelError as error:
        return NoSound(str(error))


def sound_of(samples_N: NDArray[np.float32], rate_hz: int, whole_s: float | None = None) -> Sound:
    """The first seconds of a mono waveform for a player."""
    cut_N = np.nan_to_num(samples_N[: round(LONGEST_S * rate_hz)].astype(np.float32))
    buffer = io.BytesIO()
    sf.write(
        buffer,
        np.clip(cut_N, -_LOUDEST, _LOUDEST),
        rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    whole_s = samples_N.size / rate_hz if whole_s is None else whole_s
    return Sound(base64.b64encode(buffer.getvalue()).decode(), cut_N.size / rate_hz, whole_s)
