"""Rows of CSV and TSV files as columns by name, one line at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, rows_of_lines
from assets.corpora.utterance import Row, SourceProblem
from validation.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Delimited:
    """How a file is written.

    Attributes:
        quoted: Whether ``"`` around a cell is no part of it. A row is one line in any case: a quote that is not closed
            spoils its own row, not all rows after it.
        comment: What lines begin with that are no rows.
        columns: Names of the columns, where no header states them.
    """

    delimiter: str
    quoted: bool = True
    comment: str | None = None
    columns: tuple[str, ...] | None = None

    def cells(self, line: str) -> list[str]:
        """The cells of a line, without spaces around them.

        Raises:
            RowError: if its quotes are not those of CSV.
        """
        try:
            row = next(
                csv.reader(
                    [line],
                    delimiter=self.delimiter,
                    quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
                    strict=True,
                )
            )
        except csv.Error as error:
            raise RowError("malformed_row", f"not a row of CSV: {error}: {line[:80]!r}") from error
        return [cell.strip() for cell in row]


def rows_of_table(
    root: CorpusRoot,
    name: str,
    form: Delimited,
    needed: tuple[str, ...],
    make: Callable[[dict[str, str], str], Row],
) -> Iterator[Row]:
    """One row per line that is not empty, the header aside.

    Args:
        needed: Columns that must be there.
        make: Makes a row of a line's cells by column and of its place; raises :class:`RowError`.

    Raises:
        ConfigurationError: if the file has no header, or one that names a column twice or lacks a needed one.
    """
    columns = form.columns

    def cells_of_line(line: str, source: str) -> Row | None:
        nonlocal columns
        cells = form.cells(line)
        if columns is None:
            columns = _checked_header(cells, source, needed)
            return None
        if len(cells) != len(columns):
            detail = f"{len(cells)} columns; wanted are the {len(columns)} columns {', '.join(columns)}"
            raise RowError("column_count", detail, float(len(cells)), float(len(columns)))
        return make(dict(zip(columns, cells, strict=True)), source)

    rows = rows_of_lines(root, name, cells_of_line, form.comment)
    first = next(rows, None)
    if columns is None:
        found = first.detail if isinstance(first, SourceProblem) else f"{name} is empty"
        raise ConfigurationError(f"{found}; wanted is a header with {', '.join(needed)}")
    if first is not None:
        yield from chain([first], rows)


def _checked_header(cells: list[str], source: str, needed: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    missing = [column for column in needed if column not in cells]
    if twice or missing:
        fault = f"names {twice} twice" if twice else f"lacks {missing}"
        raise ConfigurationError(f"{source}: the header {fault}; it is {cells!r:.200}")
    return tuple(cells)
