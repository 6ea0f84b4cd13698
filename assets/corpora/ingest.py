"""The step ``raw_utterances``: a corpus' rows as a table; every row that is no utterance goes to the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import polars as pl

from assets.audio.raw_format import is_raw_name
from assets.corpora.config import CorpusEntry
from assets.corpora.conversation import SPECIAL_TOKEN
from assets.corpora.readers import READERS
from assets.corpora.root import CorpusRoot
from assets.corpora.row_metadata import metadata_of
from assets.corpora.sources import Located, Sources, is_text
from assets.corpora.split import Split, split_of
from assets.corpora.utterance import Row, SourceProblem, Utterance
from validation.digests import digest_value
from validation.errors import UserError
from validation.lake import Lake
from validation.ledger import LedgerRow, Reason, Stage, has_ended_with, ledger_partition, write_ledger_part
from validation.schemas import empty_frame, frame_from_rows
from validation.steps import StepOutcome, run_step

STEP: Stage = "raw_utterances"
_RECIPE = 4
_BATCH = 4096
# Unlike a missing file, whose appearance changes the listing, a file that could not be read looks the same when it can.
_PASSING: tuple[Reason, ...] = ("unreadable",)
_LATEST_S = 1e9  # of any segment: thirty years
_TOLD = 3  # faults of the root in the error for a corpus without rows


def ingest(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Read the corpus into ``raw_utterances`` and its first part of the ledger.

    Nothing is read where the entry and the listing of its root (names, sizes, times of change) are those of the last
    run. Rows end here with the reasons ``malformed_row`` and its relatives, ``missing_audio``, ``outside_root``,
    ``unsafe_member``, ``unreadable``, ``bad_segment``, ``duplicate_id`` (the second and later ones), ``empty_text`` and
    ``special_token_in_text``. As long as a row is ``unreadable``, the next run tries again.

    Raises:
        UserError: if the root holds nothing that the reader reads.
    """
    root = CorpusRoot(entry.root)
    configuration = entry.model_dump(mode="json", exclude={"thresholds", "models", "drift"})
    inputs = digest_value({"recipe": _RECIPE, "entry": configuration, "listing": root.listing_digest()})
    part = ledger_partition(entry.name, STEP)
    outputs = [lake.table_path("raw_utterances", entry.name), lake.table_path("ledger", part)]
    manifest = lake.read_manifest(STEP, entry.name)
    is_retry = manifest is not None and manifest["inputs"] == inputs
    return run_step(
        lake,
        STEP,
        entry.name,
        inputs,
        outputs,
        lambda: _compute(entry, root, lake, _known(entry.name, lake) if is_retry else ()),
        is_whole=lambda: not has_ended_with(lake, entry.name, STEP, _PASSING),
    )


def _known(corpus: str, lake: Lake) -> Iterator[Located]:
    """Recordings from the last reading of the very same files: none of them is hashed again."""
    if lake.has_table("raw_utterances", corpus):
        table = lake.read_table("raw_utterances", corpus).filter(pl.col("source_digest").is_not_null())
        for row in table.select("audio_uri", "source_digest", "audio_offset", "audio_bytes").iter_rows():
            yield Located(*row)


def _compute(entry: CorpusEntry, root: CorpusRoot, lake: Lake, known: Iterable[Located]) -> dict[str, Any]:
    rows = chain(READERS[entry.reader].read(root, entry.options), root.faults)
    frames = [empty_frame("raw_utterances")]
    ledger: list[LedgerRow] = []
    read = 0
    with Sources(root, known) as sources:
        table_rows = _TableRows(entry, root)
        # Rows become columns a batch at a time: as Python objects, a large corpus would not fit into memory.
        while batch := list(islice(rows, _BATCH)):
            read += len(batch)
            kept = []
            for row, located in zip(batch, sources.locate(batch), strict=True):
                made = table_rows.make(row, located)
                if isinstance(made, SourceProblem):
                    problem = (made.reason, made.detail, made.value, made.limit)
                    ledger.append(LedgerRow(entry.name, made.utterance_id, made.source, STEP, *problem))
                else:
                    kept.append(made)
            frames.append(frame_from_rows("raw_utterances", kept))
    if read == len(root.faults):
        found = "; ".join(["", *(fault.detail for fault in root.faults[:_TOLD])])
        raise UserError(
            f"{root.path}: reader {entry.reader} finds no row; wanted are {entry.options.wanted()}{found}"
        )
    table = pl.concat(frames)
    lake.write_table("raw_utterances", entry.name, table)
    write_ledger_part(lake, entry.name, STEP, ledger)
    splits = dict(table.group_by("split").len().sort("split").iter_rows())
    return {"rows": table.height, "read": read, "ended_here": len(ledger), "splits": splits}


class _TableRows:
    """Makes the table's rows; remembers what must differ (ids) and what must agree (a conversation's split).

    An id belongs to one source line, and so does a conversation: two lines of one id would become one training row,
    with the messages of one and the audio of both.
    """

    def __init__(self, entry: CorpusEntry, root: CorpusRoot) -> None:
        self._entry = entry
        self._root = root
        self._named = entry.metadata.fields()
        self._defaults = {"topic": entry.topic, "licence": entry.licence, "consent": entry.consent}
        self._source_of: dict[str, str] = {}
        self._source_of_conversation: dict[str, str] = {}
        self._split_of: dict[str, Split] = {}

    def make(self, row: Row, located: Located | SourceProblem | None) -> dict[str, Any] | SourceProblem:
        """The table's row, or why there is none."""
        if isinstance(row, SourceProblem):
            return _writable(row)
        if not is_text(row.utterance_id, row.source, row.audio or "", row.text, row.speaker):
            detail = f"{row.source}: the name is not UTF-8"
            return _writable(SourceProblem(row.utterance_id, row.source, "not_utf8", detail))
        duplicate = self._duplicate(row)
        if duplicate is not None:
            return duplicate
        if isinstance(located, SourceProblem):
            return located
        fault = _segment_fault(row) or _text_fault(row)
        if fault is not None:
            return fault
        return {
            "corpus": self._entry.name,
            "utterance_id": row.utterance_id,
            "source": row.source,
            "split": self._split(row),
            "tasks": list(row.tasks or self._entry.tasks),
            "speaker": row.speaker,
            "language": row.language or self._entry.language,
            "text": row.text,
            "audio_uri": located and located.uri,
            "segment_start_s": row.segment_start_s,
            "segment_end_s": row.segment_end_s,
            "raw_format": self._raw_format(row),
            "audio_offset": located and located.offset,
            "audio_bytes": located and located.size,
            "source_digest": located and located.digest,
            "conversation_id": row.conversation_id,
            "marker": row.marker,
            "messages": row.messages,
            **metadata_of(row, self._named, self._defaults),
        }

    def _raw_format(self, row: Utterance) -> str | None:
        if row.raw_format is not None:
            return str(row.raw_format)
        return self._entry.raw_format if row.audio is not None and is_raw_name(row.audio) else None

    def _duplicate(self, row: Utterance) -> SourceProblem | None:
        earlier = self._source_of.setdefault(row.utterance_id, row.source)
        named = row.utterance_id
        if earlier == row.source and row.conversation_id is not None:
            named = row.conversation_id
            earlier = self._source_of_conversation.setdefault(named, row.source)
        if earlier == row.source:
            return None
        detail = f"{row.source}: id {named!r} stands at {earlier} already"
        return SourceProblem(row.utterance_id, row.source, "duplicate_id", detail)

    def _split(self, row: Utterance) -> Split:
        # A conversation is one training row: all of it is held out, or nothing, whatever field a rule looks at.
        split = split_of(row, self._entry.split)
        return split if row.conversation_id is None else self._split_of.setdefault(row.conversation_id, split)


def _writable(problem: SourceProblem) -> SourceProblem:
    """The problem with the bytes that are no UTF-8 spelt out."""
    names = ("utterance_id", "source", "detail")
    spelt = {
        name: getattr(problem, name).encode("utf-8", "backslashreplace").decode("utf-8") for name in names
    }
    return replace(problem, **spelt)


def _segment_fault(row: Utterance) -> SourceProblem | None:
    """Why the row's segment is none, whatever the length of the recording."""
    start_s = 0.0 if row.segment_start_s is None else row.segment_start_s
    end_s = _LATEST_S if row.segment_end_s is None else row.segment_end_s
    if 0 <= start_s < end_s <= _LATEST_S:
        return None
    detail = (
        f"{row.source}: segment {start_s:.3f} s to {end_s:.3f} s of {row.audio!r:.200} is empty or reversed"
    )
    return SourceProblem(row.utterance_id, row.source, "bad_segment", detail, end_s, start_s)


def _text_fault(row: Utterance) -> SourceProblem | None:
    if row.messages is not None:
        return None  # its reader has checked the messages; a spoken question has no transcript
    if not row.text.strip():
        if row.tasks == ("audio",):
            return None
        return SourceProblem(row.utterance_id, row.source, "empty_text", f"{row.source}: the text is empty")
    token = SPECIAL_TOKEN.search(row.text)
    if token is not None:
        detail = f"{row.source}: the text holds {token[0]!r}, which a tokenizer takes for a control token"
        return SourceProblem(row.utterance_id, row.source, "special_token_in_text", detail)
    return None
