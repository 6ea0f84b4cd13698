"""Measures of texts, over a whole table at once: a million rows take seconds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import polars as pl

from validation.text.normal import normal_text, normal_text_expr
from validation.text.scripts import SCRIPTS, UNSPACED
from validation.thresholds import primary_language_expr

# Control, private and unassigned characters, the marks that turn the direction of writing, and the one that stands for
# bytes that could not be read. Tab and line breaks are white space.
_CONTROL = (
    r"[\p{Co}\p{Cn}\x{FFFD}\x{202A}-\x{202E}\x{2066}-\x{2069}\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x84\x86-\x9F]"
)
_FEWEST_LETTERS = 4  # fewer say nothing about the script: "OK", "3D"
_NGRAM = 3
_FEWEST_NGRAMS = 10
_REPEATED_ENOUGH = 0.3
_TEMPLATE_LETTERS = 20  # shorter texts repeat by nature: digits, yes and no, commands

COLUMNS = ("control_characters", "script_share", "repeated_share", "text_occurrences", "unwanted_words")


def text_measures(
    table: pl.DataFrame, unwanted: Sequence[str] = (), occurrences: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The table with :data:`COLUMNS`; a text that is empty or null has nulls.

    - ``control_characters``: how many.
    - ``script_share``: letters in the scripts of the row's language, of all letters; null below four letters and for
      languages whose script is not known here.
    - ``repeated_share``: runs of three words (in languages without spaces: characters) that stood in the text before,
      of all runs; null below ten runs, and 0 where hardly a word repeats.
    - ``text_occurrences``: rows of this table with the same text without regard to case, for texts of at least 20
      characters.
    - ``unwanted_words``: how many of ``unwanted`` the text has, as whole words, each as often as it is there.

    Args:
        table: With ``text`` and ``language``.
        occurrences: For a table that is but a batch of one: its texts' ``key`` (:func:`text_keys`) with their
            ``text_occurrences`` in the whole; of a text that is not in it none are told.
    """
    keyed = _with_normal(table).with_columns(_language=primary_language_expr())
    text = pl.col("_normal")
    if occurrences is not None:
        keyed = keyed.with_columns(key=_key()).join(occurrences, on="key", how="left", maintain_order="left")
    counted = pl.len().over("_normal").cast(pl.Int64) if occurrences is None else pl.col("text_occurrences")
    return keyed.with_columns(
        control_characters=pl.when(text.is_not_null()).then(
            pl.col("text").str.count_matches(_CONTROL).cast(pl.Int64)
        ),
        script_share=_script_share(keyed),
        repeated_share=_repeated_share(keyed),
        text_occurrences=pl.when(text.str.len_chars() >= _TEMPLATE_LETTERS).then(counted),
        unwanted_words=_unwanted_words(unwanted),
    ).drop("_normal", "_language", "key", strict=False)


def text_keys(table: pl.DataFrame) -> pl.Series:
    """Numbers that are equal for equal texts; null for those that are too short to count as a template.

    They hold within one process: another version of polars may number otherwise.
    """
    return _with_normal(table.select("text")).select(key=_key()).to_series()


def _with_normal(table: pl.DataFrame) -> pl.DataFrame:
    """The table with ``_normal``: the text in normal form and lower case; null where it is empty."""
    lowered = table.with_columns(_normal=normal_text_expr("text").str.to_lowercase())
    return lowered.with_columns(_normal=pl.when(pl.col("_normal") != "").then("_normal"))


def _key() -> pl.Expr:
    text = pl.col("_normal")
    return pl.when(text.str.len_chars() >= _TEMPLATE_LETTERS).then(text.hash())


def _script_share(table: pl.DataFrame) -> pl.Series:
    text = pl.col("_normal")
    is_told = text.str.contains(rf"(?:\p{{L}}\P{{L}}*){{{_FEWEST_LETTERS}}}") & pl.col("_language").is_in(
        SCRIPTS
    )
    share = table.select(pl.when(is_told).then(1.0)).to_series()
    known = table.select("_normal", "_language", is_told=is_told).with_row_index()
    for language in sorted(one for one in table["_language"].unique() if one in SCRIPTS):
        own = "".join(rf"\p{{{script}}}" for script in SCRIPTS[language])
        # Letters that many scripts share have none of their own, such as the length mark of Japanese.
        foreign = rf"[\p{{L}}--[{own}\p{{Common}}\p{{Inherited}}]]"
        # Most texts have none, which is quickly seen; letters are only counted of the others.
        mixed = known.filter("is_told", pl.col("_language") == language, text.str.contains(foreign))
        counted = mixed.select(1.0 - text.str.count_matches(foreign) / text.str.count_matches(r"\p{L}"))
        share = share.scatter(mixed["index"], counted.to_series()) if mixed.height else share
    return share


def _repeated_share(table: pl.DataFrame) -> pl.Series:
    text = pl.col("_normal")
    is_unspaced = pl.col("_language").is_in(sorted(UNSPACED))
    units = (
        pl.when(is_unspaced).then(text.str.replace_all(" ", "").str.split("")).otherwise(text.str.split(" "))
    )
    split = table.select(units=units).with_row_index()
    runs = pl.col("units").list.len().cast(pl.Int64) - (_NGRAM - 1)
    # Looking at each run costs more than all other measures together, and few texts can have many repeated ones: as
    # many runs differ as words do, at least, less two.
    at_most = 1.0 - (pl.col("units").list.n_unique().cast(pl.Int64) - (_NGRAM - 1)) / runs
    rough = split.with_columns(at_most=pl.when(runs >= _FEWEST_NGRAMS).then(at_most))
    looked_at = rough.filter(pl.col("at_most") >= _REPEATED_ENOUGH)
    exact = looked_at.select(
        "index", exact=pl.col("units").map_elements(_repeated_runs, return_dtype=pl.Float64)
    )
    joined = rough.select("index", "at_most").join(exact, on="index", how="left", maintain_order="left")
    return joined.select(
        pl.when(pl.col("at_most").is_not_null()).then(pl.col("exact").fill_null(0.0)).alias("repeated_share")
    ).to_series()


def _repeated_runs(units: pl.Series) -> float:
    words = units.to_list()
    runs = list(zip(*(words[offset:] for offset in range(_NGRAM)), strict=False))
    return 1.0 - len(set(runs)) / len(runs)


def _unwanted_words(unwanted: Sequence[str]) -> pl.Expr:
    if not unwanted:
        return pl.lit(None, dtype=pl.Int64)
    # Longest first: of two that begin alike, the longer one is meant.
    words = sorted({normal_text(word).lower() for word in unwanted}, key=len, reverse=True)
    return (
        pl.col("_normal").str.count_matches(rf"(?:{'|'.join(_whole(word) for word in words)})").cast(pl.Int64)
    )


def _whole(word: str) -> str:
    # No word boundary lies between two Han characters: there, the characters themselves are looked for.
    first, last = (r"\b" if _is_spaced(word[place]) else "" for place in (0, -1))
    return first + re.escape(word) + last


def _is_spaced(character: str) -> bool:
    is_of_a_word = unicodedata.category(character)[0] in ("L", "M", "N")
    return is_of_a_word and not re.match(
        r"[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]", character
    )
