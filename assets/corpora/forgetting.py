"""Rows that are forgotten end here: in the ledger with a reason, and without a word of who they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from assets.audio.members import split_member
from assets.corpora.config import CorpusEntry
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.row_metadata import metadata_of
from assets.corpora.sources import Sources
from assets.corpora.utterance import Row, SourceProblem, Utterance
from validation.forgotten import ForgottenRows, content_key, key_of

_DETAIL = "asked to be forgotten: see the table forgotten"
_SOURCE = "forgotten"


class Forgetting:
    """What of a corpus is not to be read."""

    def __init__(self, entry: CorpusEntry, root: CorpusRoot, forgotten: ForgottenRows) -> None:
        self._entry = entry
        self._root = root
        self._forgotten = forgotten
        self._named = entry.metadata.fields()

    def without(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, of which those on the list are problems. Of a line of which one row is, all are."""
        if not self._forgotten.keys:
            return list(rows)
        gone = [self._is_forgotten(row) for row in rows]
        lines = {line_of(row) for row, is_gone in zip(rows, gone, strict=True) if is_gone} - {None}
        return [
            self._problem(row.utterance_id, row.source) if is_gone or line_of(row) in lines else row
            for row, is_gone in zip(rows, gone, strict=True)
        ]

    def without_contents(
        self, made: Sequence[dict[str, Any] | SourceProblem], sources: Sources
    ) -> Iterator[dict[str, Any] | SourceProblem]:
        """The table's rows, of which those with a recording on the list, under whatever name, are problems.

        Of a line of which one row is, all are.
        """
        if not self._forgotten.keys:
            yield from made
            return
        gone = [isinstance(row, dict) and self._is_known(row) for row in made]
        lines: set[str] = set()
        for row, is_gone in zip(made, gone, strict=True):
            if is_gone and isinstance(row, dict):
                sources.forget(row["audio_uri"])
                lines |= {row["source"]} if row["conversation_id"] is not None else set()
        for row, is_gone in zip(made, gone, strict=True):
            utterance_id, source = (
                (row["utterance_id"], row["source"])
                if isinstance(row, dict)
                else (row.utterance_id, row.source)
            )
            yield self._problem(utterance_id, source) if is_gone or source in lines else row

    def without_pieces(
        self, frames: Iterable[pl.DataFrame], tell: Callable[[SourceProblem], None]
    ) -> Iterator[pl.DataFrame]:
        """Batches of the table's rows, those of pieces that are on the list told and left out."""
        for frame in frames:
            if not self._forgotten.keys:
                yield frame
                continue
            gone = [self._is_known(row) for row in frame.iter_rows(named=True)]
            for utterance_id, source in frame.filter(gone).select("utterance_id", "source").iter_rows():
                tell(self._problem(utterance_id, source))
            yield frame.filter([not one for one in gone])

    def _is_forgotten(self, row: Row) -> bool:
        keys = [key_of("utterance", row.utterance_id)]
        if isinstance(row, SourceProblem):
            return self._forgotten.has(*keys, key_of("file", self._root.uri(row.source)))
        keys.append(key_of("speaker", row.speaker))
        if row.conversation_id is not None:
            keys.append(key_of("utterance", row.conversation_id))
        licence = metadata_of(row, self._named, {"licence": self._entry.licence})["licence"]
        keys.append(key_of("licence", licence))
        keys += [key_of("file", uri) for uri in self._uris(row)]
        return self._forgotten.has(*keys)

    def _is_known(self, row: dict[str, Any]) -> bool:
        """By its id, which may be that of a piece of what was read, or by its recording."""
        if self._forgotten.has(key_of("utterance", row["utterance_id"])):
            return True
        digest = row["source_digest"]
        places = (row["segment_start_s"], row["segment_end_s"], row["channel"])
        return digest is not None and self._forgotten.has(content_key(digest, *places))

    def _uris(self, row: Utterance) -> list[str]:
        """The file of the row's audio, and what it is called in it."""
        if row.audio is None:
            return []
        try:
            name = self._root.resolve(row.audio)
            if name is not None:
                return [self._root.uri(name)]
            file, member = split_member(row.audio)
            name = None if member is None else self._root.resolve(file)
        except OutsideRootError:
            return []
        return [] if name is None else [self._root.uri(name), f"{self._root.uri(name)}!{member}"]

    def _problem(self, utterance_id: str, source: str) -> SourceProblem:
        return SourceProblem(self._forgotten.masked_id(utterance_id, source), _SOURCE, "forgotten", _DETAIL)


def line_of(row: Row) -> tuple[str, str] | None:
    """What the rows of one conversation have in common; ``None`` for what is a row by itself."""
    if isinstance(row, SourceProblem) or row.conversation_id is None:
        return None
    return row.conversation_id, row.source
