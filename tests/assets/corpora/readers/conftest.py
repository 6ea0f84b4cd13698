"""Reading a layout in one call, with what must hold for every reader checked on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.corpora import READERS
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import SourceProblem, Utterance


@dataclass(frozen=True)
class Found:
    """What a reader gave: utterances by id, problems by where they stand."""

    said: dict[str, Utterance]
    problems: dict[str, SourceProblem]

    @property
    def texts(self) -> dict[str, str]:
        return {name: row.text for name, row in self.said.items()}

    @property
    def reasons(self) -> dict[str, str]:
        return {source: row.reason for source, row in self.problems.items()}


def read_rows(entry: Any) -> Found:
    rows = list(READERS[entry.reader].read(CorpusRoot(entry.root), entry.options))
    places = [(row.utterance_id, row.source) for row in rows]
    assert len(set(places)) == len(places), "a row was given twice"
    said = [row for row in rows if isinstance(row, Utterance)]
    problems = [row for row in rows if isinstance(row, SourceProblem)]
    assert len({row.utterance_id for row in said}) == len(said)
    for row in said:
        assert set(row.fields) == entry.options.field_names()
    for problem in problems:
        assert problem.source in problem.detail
    return Found({row.utterance_id: row for row in said}, {row.source: row for row in problems})


@pytest.fixture
def read(make: Any) -> Callable[..., Found]:
    """``read(reader, root, **options)``: the rows of a corpus, as its entry in a corpora file would give them."""

    def of(reader: str, root: Path, **options: Any) -> Found:
        return read_rows(make.entry(reader, root, options=options))

    return of
