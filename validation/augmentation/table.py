"""The step ``augmentations``: a table of the variants of each row of the training split; no audio is read or made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import polars as pl

from validation.augmentation.drawing import NoiseRecording, copies_of
from validation.augmentation.recipe import Recipe
from validation.augmentation.record import VERSION, Augmentation
from validation.batches import batches_of, database, files_of, frame_of, write_batches
from validation.digests import digest_value
from validation.errors import UserError
from validation.lake import Lake
from validation.schemas import frame_from_rows
from validation.steps import StepOutcome, run_step, table_digest
from validation.stored_audio import STORED_RATE_HZ
from validation.tasks import NOISE

STEP = "augmentations"
AUDIO_MARKER = "<|audio|>"
_RECIPE = 1
_BATCH = 4096


class AugmentationError(UserError):
    """A recipe that cannot be followed; names the corpus and what is missing."""


def augment(corpus: str, recipe: Recipe, lake: Lake) -> StepOutcome:
    """Draw the variants of the corpus' training rows.

    Raises:
        AugmentationError: if the noise corpus has nothing that may be mixed in.
        validation.lake.MissingTableError: if ``training_rows``, or the noise corpus' accepted rows, are not there.
    """
    made_from: dict[str, Any] = {"recipe": _RECIPE, "version": VERSION}
    if recipe.copies:
        made_from |= {
            "asked": recipe.model_dump(mode="json"),
            "rows": table_digest(lake, "training_rows", corpus),
            "utterances": table_digest(lake, "accepted_utterances", corpus),
        }
    if recipe.copies and recipe.noise is not None:
        made_from["noise"] = table_digest(lake, "accepted_utterances", recipe.noise.corpus)
    outputs = [lake.table_path("augmentations", corpus)]
    return run_step(
        lake, STEP, corpus, digest_value(made_from), outputs, lambda: _compute(corpus, recipe, lake)
    )


def variant_id(row_id: str, copy: int) -> str:
    """Name of a row's variant."""
    return f"{row_id}~{copy}"


class Noises:
    """The recordings of a noise corpus that may be mixed into training rows: accepted ones of its training split.

    Raises:
        AugmentationError: naming the corpus, if there is none.
    """

    def __init__(self, lake: Lake, corpus: str) -> None:
        self.corpus = corpus
        files = files_of(lake, "accepted_utterances", [corpus])
        with database(lake) as connection:
            self._table = frame_of(
                connection,
                "SELECT min(utterance_id) AS utterance_id, min_by(licence, utterance_id) AS licence,"  # noqa: S608
                " min(audio_path) AS audio_path, audio_digest, min(duration_s) AS duration_s"
                f" FROM {files} WHERE split = 'train' AND list_contains(tasks, ?)"
                " GROUP BY audio_digest ORDER BY audio_digest",
                [NOISE],
            )
        if not self._table.height:
            raise AugmentationError(
                f"augmentation: noise: corpus {corpus!r} has no accepted recording of noise in its training split"
            )

    def __len__(self) -> int:
        return self._table.height

    def __getitem__(self, index: int) -> NoiseRecording:
        return NoiseRecording(**self._table.row(index, named=True))


@dataclass(frozen=True, slots=True)
class _Row:
    """A training row, and which of its audios are changed."""

    row_id: str
    is_target: bool
    audios: list[dict[str, Any]]


def _compute(corpus: str, recipe: Recipe, lake: Lake) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    variants = _variants(corpus, recipe, lake, counts) if recipe.copies else iter(())
    rows = write_batches(lake, "augmentations", corpus, _in_batches(variants))
    hours = round(counts["milliseconds"] / 3.6e6, 4)
    by_transform = {name: counts[name] for name in _TRANSFORMS if counts[name]}
    figures = {name: counts[name] for name in ("training_rows", "variants", "copies_not_made")}
    return {"rows": rows, **figures, "hours": hours, "by_transform": by_transform}


_TRANSFORMS = ("speed", "pitch", "formant", "noise", "band", "gain")


def _in_batches(rows: Iterable[dict[str, Any]]) -> Iterator[pl.DataFrame]:
    left = iter(rows)
    while batch := list(islice(left, _BATCH)):
        yield frame_from_rows("augmentations", batch)


def _variants(corpus: str, recipe: Recipe, lake: Lake, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """The table's rows; ``counts`` gets the figures."""
    noises = Noises(lake, recipe.noise.corpus) if recipe.noise is not None else None
    for_targets = recipe.for_targets()
    for row in _rows(corpus, recipe.tasks, lake):
        counts["training_rows"] += 1
        made = 0
        digests = [one["audio_digest"] for one in row.audios]
        for copy, drawn in copies_of(for_targets if row.is_target else recipe, digests, noises):
            made += 1
            for audio, augmentation in zip(row.audios, drawn, strict=True):
                if not augmentation.is_nothing:
                    yield _table_row(corpus, row, copy, audio, augmentation, recipe.seed, counts)
        counts["variants"] += made
        counts["copies_not_made"] += recipe.copies - made


def _table_row(
    corpus: str,
    row: _Row,
    copy: int,
    audio: dict[str, Any],
    augmentation: Augmentation,
    seed: int,
    counts: Counter[str],
) -> dict[str, Any]:
    frames = augmentation.frames_of(round(audio["duration_s"] * STORED_RATE_HZ))
    counts["milliseconds"] += round(1000 * frames / STORED_RATE_HZ)
    counts.update(name for name in _TRANSFORMS if getattr(augmentation, name) is not None)
    return {
        "corpus": corpus,
        "row_id": variant_id(row.row_id, copy),
        "original": row.row_id,
        "copy_number": copy,
        "marker": audio["marker"],
        "utterance_id": audio["utterance_id"],
        "audio_digest": audio["audio_digest"],
        "augmentation_digest": augmentation.digest,
        "augmentation": augmentation.to_json(),
        "seed": seed,
        "original_s": audio["duration_s"],
        "duration_s": frames / STORED_RATE_HZ,
    }


def _rows(corpus: str, tasks: Collection[str], lake: Lake) -> Iterator[_Row]:
    """The training split's rows of these tasks that have audio to change, in the order of their ids."""
    statement = f"""
        SELECT row_id, task, messages, marker, utterance_id, audio_digest, duration_s FROM (
            SELECT row_id, task, CASE WHEN task = 'conversation' THEN messages END AS messages,
                unnest(utterance_ids) AS utterance_id, unnest(audio_digests) AS audio_digest,
                unnest(range(len(audio_digests))) AS marker
            FROM {files_of(lake, "training_rows", [corpus])}
            WHERE split = 'train' AND list_contains(?, task) AND len(audio_digests) > 0
        ) JOIN (SELECT utterance_id, duration_s FROM {files_of(lake, "accepted_utterances", [corpus])})
            USING (utterance_id)
        ORDER BY row_id, marker"""  # noqa: S608 - the paths are quoted
    with database(lake) as connection:
        records = (
            record
            for batch in batches_of(connection, statement, [list(tasks)])
            for record in batch.iter_rows(named=True)
        )
        for row_id, of_row in groupby(records, key=lambda one: str(one["row_id"])):
            audios = list(of_row)
            if audios[0]["task"] == "conversation":
                heard = heard_markers(audios[0]["messages"])
                audios = [one for one in audios if one["marker"] in heard]
            if audios:
                yield _Row(row_id, audios[0]["task"] == "tts", audios)


def heard_markers(messages: str) -> set[int]:
    """Which audios of a conversation are heard and not spoken by the model; ``messages`` is their JSON."""
    heard: set[int] = set()
    first = 0
    for message in json.loads(messages):
        count = message["content"].count(AUDIO_MARKER)
        if message["role"] != "assistant":
            heard.update(range(first, first + count))
        first += count
    return heard
