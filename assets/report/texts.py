"""Texts of one corpus in figures: how many differ, which are said most often, and of which characters they are made."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import duckdb

MOST_TEXTS = 10
MOST_CHARACTERS = 120
# Splitting texts into characters takes ten times what all else does: of more rows than this, so many are taken.
CHARACTER_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Character:
    """One character of the accepted texts."""

    character: str
    rows: int

    @property
    def name(self) -> str:
        """Its name in Unicode."""
        signs = (f"U+{ord(sign):04X} {unicodedata.name(sign, 'without a name')}" for sign in self.character)
        return " + ".join(signs)


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
    every = max(1, -(-int(rows) // CHARACTER_ROWS))
    counted = connection.execute(
        f"""WITH drawn AS (
                SELECT list_distinct(string_split(text, '')) AS characters FROM accepted
                WHERE text <> '' AND hash(utterance_id) % {every} = 0
            )
            SELECT character, count(*) AS rows, (SELECT count(*) FROM drawn) AS drawn
            FROM (SELECT unnest(characters) AS character FROM drawn)
            WHERE character <> '' GROUP BY 1 ORDER BY 2 DESC, 1"""  # noqa: S608 - our own numbers
    ).fetchall()
    characters = [
        Character(character, int(of_rows)) for character, of_rows, _ in counted if character.strip()
    ]
    rare = characters[MOST_CHARACTERS:][-MOST_CHARACTERS // 2 :]
    return Texts(
        rows=int(rows),
        different=int(different),
        characters_in_all=int(length),
        repeated=tuple((text, int(times)) for text, times in repeated),
        vocabulary=len(characters),
        characters=tuple(characters[:MOST_CHARACTERS]),
        rare=tuple(rare),
        character_rows=int(counted[0][2]) if counted else 0,
    )
