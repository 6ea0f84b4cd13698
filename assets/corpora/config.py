"""The corpora file: which corpora there are, how each is read, and which part of it is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator

from assets.audio.raw_format import RawFormat
from assets.audio.settings import AudioSettings, Segmentation
from assets.corpora.file_roots import CorporaFileError as CorporaFileError
from assets.corpora.file_roots import filled_root
from assets.corpora.noise import is_noise, limits_of, noise_fault
from assets.corpora.options import ReaderOptions
from assets.corpora.readers import READER_NAMES, READERS, ReaderName
from assets.corpora.root import CorpusRoot
from assets.corpora.row_metadata import RowMetadata
from assets.corpora.split import SplitRule
from assets.corpora.standard import standard_items
from assets.corpora.utterance import COMMON_FIELDS
from validation.augmentation.recipe import NO_RECIPE, Recipe
from validation.budget import Budget
from validation.drift import DriftLimits
from validation.errors import ConfigurationError
from validation.leakage_rules import Evaluation
from validation.listening.config import ModelMeasures
from validation.schemas import Task
from validation.strict import Strict, explain, read_yaml
from validation.thresholds import ThresholdError, Thresholds

# What `voxline corpora inspect` prints where a person must say something.
FILL_IN = "FILL_IN"


class CorpusEntry(Strict):
    """One corpus.

    Attributes:
        root: Where the corpus lies: an absolute path or a URL.
        tasks: What its transcribed utterances are trained for; rows of jsonl, instructions and untranscribed say so
            themselves.
        raw_format: What files named ``.raw`` or ``.pcm`` hold, ``encoding/rate/channels``, such as ``s16le/16000/1``.
        split: Rules in order; an utterance that one matches is held out (``test``).
        thresholds: Limits that differ from ``validation/thresholds.yaml`` for this corpus.
        models: Models that measure this corpus; all are off unless named.
        audio: How its recordings are stored: rates, loudness, channels.
        segmentation: How recordings without a text are cut at pauses; ``None``: not at all.
        topic: Of rows that do not state their own; likewise ``consent``.
        drift: What it may change by from one state to the next.
        budget: How much of it may be lost before its run fails.
        metadata: Which of the reader's fields say a row's own topic, difficulty, licence and consent.
        augmentation: Variants of its training rows, in place of what the file says for all corpora.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    reader: ReaderName
    root: str = Field(min_length=1)
    options: SerializeAsAny[ReaderOptions] = Field(default_factory=dict, validate_default=True)
    licence: str = Field(min_length=1)
    language: str = Field(pattern=r"^[a-z]{2,3}([-_][A-Za-z0-9]+)*$")
    tasks: tuple[Task, ...] = Field(default=("asr", "tts"), min_length=1)
    raw_format: str | None = None
    split: tuple[SplitRule, ...] = ()
    thresholds: dict[str, Any] = Field(default_factory=dict)
    models: ModelMeasures = ModelMeasures()
    audio: AudioSettings = AudioSettings()
    segmentation: Segmentation | None = None
    drift: DriftLimits = DriftLimits()
    budget: Budget = Budget()
    topic: str | None = Field(default=None, min_length=1)
    consent: str | None = Field(default=None, min_length=1)
    metadata: RowMetadata = RowMetadata()
    augmentation: Recipe | None = None

    @field_validator("options", mode="before")
    @classmethod
    def _typed_options(cls, value: Any, info: ValidationInfo) -> Any:
        reader = info.data.get("reader")
        if reader is None or isinstance(value, ReaderOptions):
            return value if isinstance(value, ReaderOptions) else ReaderOptions()
        kind = READERS[reader].options
        try:
            return kind.model_validate(value if value is not None else {})
        except ValidationError as error:
            raise ValueError(f"{explain(error)}; {reader} allows {_allowed(kind)}") from error

    @field_validator("licence", "language", mode="before")
    @classmethod
    def _is_filled_in(cls, value: Any) -> Any:
        if value == FILL_IN:
            raise ValueError("is still to be filled in")
        return value

    @field_validator("tasks")
    @classmethod
    def _transcript_tasks(cls, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        wrong = sorted(set(tasks) - {"asr", "tts"})
        if wrong or len(set(tasks)) != len(tasks):
            raise ValueError(
                "allowed are asr and tts, each once (other tasks come from readers whose rows say so)"
            )
        return tasks

    @field_validator("raw_format")
    @classmethod
    def _known_raw_format(cls, text: str | None) -> str | None:
        return None if text is None else str(RawFormat.parse(text))

    @field_validator("thresholds")
    @classmethod
    def _known_thresholds(cls, values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        try:
            limits_of(info.data.get("options"), values)
        except ThresholdError as error:
            raise ValueError(str(error)) from error
        return values

    @model_validator(mode="after")
    def _tasks_are_used(self) -> CorpusEntry:
        if self.options.sets_tasks() and "tasks" in self.model_fields_set:
            raise ValueError(
                f"tasks: the rows of reader {self.reader} say themselves what they are for; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _only_speech_without_text_is_cut(self) -> CorpusEntry:
        wanted = "segmentation" if self.segmentation is not None else "audio.channels: split"
        if self.makes_pieces and not self.options.is_cut():
            raise ValueError(
                f"{wanted}: a text belongs to its whole recording, and nobody can say to which part of it; allowed "
                "with reader untranscribed and purpose: tokenizer"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_not_augmented(self) -> CorpusEntry:
        if self.augmentation is not None and is_noise(self.options):
            raise ValueError("augmentation: a corpus of noise has no training rows")
        return self

    @property
    def limits(self) -> Thresholds:
        """What its rows must be like."""
        return limits_of(self.options, self.thresholds)

    @property
    def makes_pieces(self) -> bool:
        """Whether a recording may become several rows."""
        return self.segmentation is not None or self.audio.channels == "split"

    @model_validator(mode="after")
    def _known_fields(self) -> CorpusEntry:
        known = {*COMMON_FIELDS, *self.options.field_names()}
        for index, rule in enumerate(self.split):
            if rule.field not in known:
                raise ValueError(
                    f"split.{index}.field: unknown field {rule.field!r}; {self.reader} gives {', '.join(sorted(known))}"
                )
        given = self.options.field_names()
        for name, field in self.metadata.fields().items():
            if field not in given:
                allowed = ", ".join(sorted(given)) or "none"
                raise ValueError(f"metadata.{name}: unknown field {field!r}; {self.reader} gives {allowed}")
        return self


class CorporaFile(Strict):
    """All corpora of a file, in its order, the standard sets (names) last, and what is for evaluation only."""

    corpora: tuple[CorpusEntry, ...] = Field(min_length=1)
    standard_sets: tuple[str, ...] = ()
    evaluation: Evaluation = Evaluation()
    augmentation: Recipe = NO_RECIPE

    def recipe(self, corpus: str) -> Recipe:
        """What the training rows of a corpus are augmented by."""
        own = {entry.name: entry.augmentation for entry in self.corpora}[corpus]
        return self.augmentation if own is None else own


def load_corpora(path: Path, check_roots: bool = True) -> CorporaFile:
    """Read and check a corpora file.

    Args:
        check_roots: Also ask each root whether it is there, with the files that its reader cannot do without.

    Raises:
        CorporaFileError: naming the file, the entry, the value and what is allowed.
    """
    try:
        value = read_yaml(path)
    except ConfigurationError as error:
        raise CorporaFileError(str(error)) from error
    if not isinstance(value, dict) or not value:
        found = "the file is empty" if value is None else f"got {value!r:.80}"
        raise CorporaFileError(f"{path}: {found}; wanted is a key `corpora` with a list of corpora")
    if unknown := sorted(str(key) for key in value if key not in CorporaFile.model_fields):
        raise CorporaFileError(f"{path}: unknown keys {unknown}; allowed are {_allowed(CorporaFile)}")
    items = value.get("corpora")
    if not isinstance(items, list) or not items:
        raise CorporaFileError(
            f"{path}: corpora: got {items!r:.80}; wanted is a list with at least one corpus"
        )
    sets = list(standard_items(path, value.get("standard_sets") or {}))
    entries = [_entry(path, index, item) for index, item in enumerate([*items, *sets])]
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise CorporaFileError(
                f"{path}: corpus {entry.name!r}: name: two corpora have it; names must differ"
            )
        seen.add(entry.name)
        if check_roots:
            _check_root(path, entry)
    evaluation = _evaluation(path, value.get("evaluation"), seen)
    augmentation = _augmentation(path, value.get("augmentation"), entries)
    return CorporaFile(
        corpora=tuple(entries),
        standard_sets=tuple(one["name"] for one in sets),
        evaluation=evaluation,
        augmentation=augmentation,
    )


def listing_digest(entry: CorpusEntry) -> str:
    """Digest of the names, sizes and versions of the corpus' files: another one means that there may be new data."""
    return CorpusRoot(entry.root).listing_digest()


def _evaluation(path: Path, value: Any, corpora: set[str]) -> Evaluation:
    try:
        evaluation = Evaluation.model_validate({} if value is None else value)
    except ValidationError as error:
        allowed = _allowed(Evaluation)
        raise CorporaFileError(f"{path}: evaluation: {explain(error)}; allowed keys are {allowed}") from error
    if unknown := evaluation.unknown_corpora(corpora):
        raise CorporaFileError(
            f"{path}: evaluation: no corpus {unknown[0]!r}; the file has {sorted(corpora)}"
        )
    return evaluation.below(path.parent)


def _augmentation(path: Path, value: Any, entries: list[CorpusEntry]) -> Recipe:
    try:
        for_all = NO_RECIPE if value is None else Recipe.model_validate(value)
    except ValidationError as error:
        allowed = _allowed(Recipe)
        raise CorporaFileError(
            f"{path}: augmentation: {explain(error)}; allowed keys are {allowed}"
        ) from error
    if fault := noise_fault(for_all, {entry.name: (entry.options, entry.augmentation) for entry in entries}):
        raise CorporaFileError(f"{path}: {fault}")
    return for_all


def _entry(path: Path, index: int, item: Any) -> CorpusEntry:
    label = f"corpus {item['name']!r}" if isinstance(item, dict) and item.get("name") else f"corpora.{index}"
    if not isinstance(item, dict):
        raise CorporaFileError(
            f"{path}: {label}: got {item!r:.80}; wanted are the keys {_allowed(CorpusEntry)}"
        )
    if item.get("reader") not in READER_NAMES:
        allowed = ", ".join(READER_NAMES)
        raise CorporaFileError(
            f"{path}: {label}: reader: unknown reader {item.get('reader')!r}; allowed are {allowed}"
        )
    if isinstance(item.get("root"), str):
        item = {**item, "root": filled_root(path, label, item["root"])}
    try:
        return CorpusEntry.model_validate(item)
    except ValidationError as error:
        allowed = _allowed(CorpusEntry)
        raise CorporaFileError(f"{path}: {label}: {explain(error)}; allowed keys are {allowed}") from error


def _check_root(path: Path, entry: CorpusEntry) -> None:
    root = CorpusRoot(entry.root)
    if not root.exists:
        raise CorporaFileError(
            f"{path}: corpus {entry.name!r}: root: {entry.root} is not a folder that is there"
        )
    for name in entry.options.required_files():
        if not root.has(name):
            raise CorporaFileError(
                f"{path}: corpus {entry.name!r}: root: {entry.root} has no file {name!r}, which {entry.reader} reads"
            )


def _allowed(kind: type[Strict]) -> str:
    return ", ".join(kind.model_fields) or "no options"
