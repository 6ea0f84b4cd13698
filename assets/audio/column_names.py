"""Names of recordings inside Parquet and Arrow files: ``file.parquet!audio/17`` (column, row from 0).

Apart from what reads them, so that the workers of a corpus of plain files start without Arrow.
"""

from __future__ import annotations

SUFFIXES = (".parquet", ".arrow")


def is_columnar(name: str) -> bool:
    """Whether the file is one whose columns may hold recordings."""
    return name.lower().endswith(SUFFIXES)


def value_name(column: str, row: int) -> str:
    """The one notation for a recording in a column, to be put behind the file's name and ``!``."""
    return f"{column}/{row}"


def split_value(member: str) -> tuple[str, int] | None:
    """Column and row, if the name is one of a recording in a column."""
    column, slash, row = member.rpartition("/")
    is_row = slash and row.isascii() and row.isdigit() and len(row) < 16
    return (column, int(row)) if is_row and column else None
