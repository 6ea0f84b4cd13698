"""Texts of one corpus in figures: how many differ, which are said most often, and of which characters they are made."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass

import duckdb

from validation.batches import batches_of

MOST_TEXTS = 10
MOST_CHARACTERS = 120
# Looking at each character takes longer than all else: of more rows than this, so many are taken.
CHARACTER_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Character:
    """One character of the accepted texts."""

    character: str
    rows: int

    @property
    def name(self) -> str:
        """Its name in Unicode."""
        return f"U+{ord(self.character):04X} {unicodedata.name(self.character, 'without a name')}"


@dataclass(frozen=True, slots=True)
class Texts:
    """Figures of the accepted texts.

    Attributes:
        rows: Accepted rows with a text.
        different: How many different texts they have.
        characters_in_all: Of all of them.
        repeated: The texts that stand in the most rows, with their number; only those in two and more.
        vocabulary: How many different characters they have.
        characters: The most frequent ones, by the rows that have them.
        rare: The least frequent of the others.
        character_rows: Of how many rows characters were counted.
    """

    rows: int
    different: int
    characters_in_all: int
    repeated: tuple[tuple[str, int], ...]
    vocabulary: int
    characters: tuple[Character, ...]
    rare: tuple[Character, ...]
    character_rows: int


def read_texts(connection: duckdb.DuckDBPyConnection) -> Texts:
    """The figures of the view ``accepted`` (:func:`assets.report.facts.corpus_database`)."""
    rows, length = connection.execute(
        "SELECT count(*), coalesce(sum(length(text)), 0) FROM accepted WHERE text <> ''"
    ).fetchall()[0]
    # By its hash, so that what is held of a text does not depend on its length.
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE texts AS "
        "SELECT hash(text) AS key, count(*) AS rows FROM accepted WHERE text <> '' GROUP BY 1"
    )
    different = connection.execute("SELECT count(*) FROM texts").fetchall()[0][0]
    repeated = connection.execute(
        f"""WITH most AS (SELECT * FROM texts WHERE rows > 1 ORDER BY rows DESC, key LIMIT {MOST_TEXTS})
            SELECT min(a.text) AS text, any_value(m.rows) AS rows
            FROM accepted a JOIN most m ON hash(a.text) = m.key GROUP BY m.key
            ORDER BY rows DESC, text"""  # noqa: S608 - our own numbers
    ).fetchall()
    connection.execute("DROP TABLE texts")
    characters, drawn = _count_characters(connection, max(1, -(-int(rows) // CHARACTER_ROWS)))
    rare = characters[MOST_CHARACTERS:][-MOST_CHARACTERS // 2 :]
    return Texts(
        rows=int(rows),
        different=int(different),
        characters_in_all=int(length),
        repeated=tuple((text, int(times)) for text, times in repeated),
        vocabulary=len(characters),
        characters=tuple(characters[:MOST_CHARACTERS]),
        rare=tuple(rare),
        character_rows=drawn,
    )


def _count_characters(connection: duckdb.DuckDBPyConnection, every: int) -> tuple[list[Character], int]:
    """The characters by the rows that have them, the most frequent first; and of how many rows, one of ``every``."""
    counts: Counter[str] = Counter()
    drawn = 0
    # A batch at a time in Python: splitting them in DuckDB takes a hundred times the memory of the texts.
    statement = f"SELECT text FROM accepted WHERE text <> '' AND hash(utterance_id) % {every} = 0"  # noqa: S608
    for batch in batches_of(connection, statement):
        drawn += batch.height
        for text in batch["text"]:
            counts.update(set(text))
    found = [Character(sign, rows) for sign, rows in counts.items() if sign.strip()]
    return sorted(found, key=lambda one: (-one.rows, one.character)), drawn
