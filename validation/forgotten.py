"""The list of what is forgotten: who asked for what, as digests; no row that it names is read again.

A digest hides a name only from those who cannot guess it: it keeps the list from being one of persons, and lets the
next reading of a corpus know whom it stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import polars as pl

from validation.digests import digest_bytes, digest_value
from validation.errors import UserError
from validation.forget_contracts import SelectorKind
from validation.lake import Lake
from validation.schemas import TableName, frame_from_rows

_SEPARATOR = "\x1f"
_TABLE: TableName = "forgotten"


@dataclass(frozen=True, slots=True)
class Selector:
    """Whom or what to forget.

    Attributes:
        value: A speaker, an utterance's or conversation's id, a licence, or a file: its URI, or its path in the root.
        corpus: ``None``: in every corpus.
    """

    kind: SelectorKind
    value: str
    corpus: str | None = None

    @property
    def request(self) -> str:
        """The same for the same selector, so that asking again adds to what was asked before."""
        return digest_value([self.kind, self.value, self.corpus])[:16]

    @property
    def digest(self) -> str:
        """What the list says of it."""
        return key_of(self.kind, self.value)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list, apart from when, by whom and why."""

    kind: str
    corpus: str | None
    digest: str
    rows: int


@lru_cache(maxsize=1 << 16)
def key_of(kind: str, *parts: object) -> str:
    """Digest of what is forgotten."""
    return digest_bytes(_SEPARATOR.join([kind, *map(str, parts)]).encode("utf-8", "backslashreplace"))


def content_key(source_digest: str, start_s: float | None, end_s: float | None, channel: int | None) -> str:
    """Digest of one recording, or of a segment of it, wherever it lies."""
    return key_of("content", source_digest, start_s or 0.0, end_s, channel)


@dataclass
class ForgottenRows:
    """What of one corpus is forgotten, for whoever reads it."""

    corpus: str
    keys: frozenset[str] = frozenset()
    entries: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, lake: Lake, corpus: str) -> ForgottenRows:
        """The entries for this corpus, and for all."""
        found = [
            row
            for path in lake.list_files(f"tables/{_TABLE}")
            for row in _read(lake, path).select("corpus", "digest").iter_rows()
            if row[0] in (None, corpus)
        ]
        of_corpus = sorted(digest for scope, digest in found if scope == corpus)
        return cls(corpus, frozenset(digest for _, digest in found), of_corpus)

    @property
    def inputs(self) -> list[str]:
        """What a step's inputs take of it: of what is forgotten in all corpora, only what this one had."""
        return self.entries

    def has(self, *keys: str) -> bool:
        """Whether one of the keys is on the list."""
        return any(key in self.keys for key in keys)

    def masked_id(self, utterance_id: str, source: str) -> str:
        """What the ledger calls a forgotten row: the same each time, and nobody's name."""
        return f"forgotten:{key_of('row', self.corpus, utterance_id, source)[:32]}"


def write_request(lake: Lake, selector: Selector, entries: Collection[Entry], by: str, why: str) -> None:
    """Put the request on the list; entries that an earlier one of the same selector put there stay as they are.

    Raises:
        UserError: if nobody is named who asks.
    """
    if not by.strip():
        raise UserError("--by is empty: say who asks for it")
    now = datetime.now(UTC)
    licence = selector.value if selector.kind == "licence" else None
    rows = [
        {
            "request": selector.request,
            "kind": entry.kind,
            "corpus": entry.corpus,
            "digest": entry.digest,
            "rows": entry.rows,
            "licence": licence if entry.kind == "licence" else None,
            "at": now,
            "by": by,
            "why": why,
        }
        for entry in entries
    ]
    frames = [frame_from_rows(_TABLE, rows)]
    if lake.has_table(_TABLE, selector.request):
        frames.insert(0, lake.read_table(_TABLE, selector.request))
    whole = pl.concat(frames).unique(["kind", "corpus", "digest"], keep="first", maintain_order=True)
    in_order = whole.sort("corpus", "kind", "digest")
    if not (lake.has_table(_TABLE, selector.request) and in_order.equals(frames[0])):
        lake.write_table(_TABLE, selector.request, in_order)


def read_request(lake: Lake, selector: Selector) -> pl.DataFrame | None:
    """What the list says of the selector; ``None`` where it is not on it."""
    if not lake.has_table(_TABLE, selector.request):
        return None
    return lake.read_table(_TABLE, selector.request)


def corpora_of(request: pl.DataFrame | None) -> Sequence[str]:
    """The corpora that a request had rows of."""
    if request is None:
        return ()
    corpora: list[str] = request["corpus"].drop_nulls().unique().sort().to_list()
    return corpora


def _read(lake: Lake, path: str) -> pl.DataFrame:
    with lake.open(path) as stream:
        return pl.read_parquet(stream)
