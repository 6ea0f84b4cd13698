"""A mixture over training rows: which entry speaks for each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from training_jobs.mixture_rules import met
from training_jobs.profile import MixtureItem
from validation.batches import quoted
from validation.errors import ConfigurationError, UserError
from validation.metadata import column_of, statement_of

# What of every pack is counted by value, whether or not the mixture asks for it.
REPORTED = ("language", "licence", "consent", "topic", "difficulty")
_DATA_FILE = "data_file"


class MixtureError(UserError):
    """An entry that takes no row, or weighs none; names the entry and the counts."""


class Mixture:
    """The entries of a mixture.

    Raises:
        ConfigurationError: if there is no entry, or one names a corpus that there is not.
    """

    def __init__(self, items: Sequence[MixtureItem], corpora: Sequence[str]) -> None:
        if not items:
            raise ConfigurationError("the mixture has no entries: nothing would be drawn")
        unknown = sorted({item.corpus for item in items if item.corpus is not None} - set(corpora))
        if unknown:
            raise ConfigurationError(f"the mixture names the corpora {unknown}; there are {sorted(corpora)}")
        self.items = list(items)
        used = [one.field for item in items for one in (*item.where, *filter(None, [item.weight_by]))]
        self.used = tuple(dict.fromkeys(used))
        self.fields = tuple(dict.fromkeys([*REPORTED, *used]))

    def columns(self) -> str:
        """What is selected from ``training_rows`` for the conditions, weights and counts: columns named like fields.

        Where entries are for files, also ``data_file``: the one of them that holds the row.
        """
        columns = [f'{statement_of(field)} AS "{column_of(field)}"' for field in self.fields]
        return ", ".join(columns + [f"{self._data_file()} AS {_DATA_FILE}"] * self.has_files)

    def column_names(self) -> list[str]:
        """The names of these columns."""
        return [column_of(field) for field in self.fields] + [_DATA_FILE] * self.has_files

    @property
    def has_files(self) -> bool:
        """Whether any entry is for a file, by which rows must then be known: ``jsonl_path`` and ``read_from``."""
        return any(item.file is not None for item in self.items)

    def _data_file(self) -> str:
        files = ", ".join(quoted(item.file) for item in self.items if item.file is not None)
        return f"CASE WHEN jsonl_path IN ({files}) THEN jsonl_path WHEN read_from IN ({files}) THEN read_from END"

    def with_items(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with ``item``, the number of the entry that speaks for each; null where none does.

        Entries that name the row's corpus speak before those for its task at large, which are shut out by them; among
        each, the first whose conditions the row meets.
        """
        number = pl.lit(None, pl.Int32)
        named_first = sorted(range(len(self.items)), key=lambda index: self.items[index].corpus is None)
        for index in reversed(named_first):
            takes = self._is_for(index) & self._is_met(index)
            number = pl.when(takes).then(pl.lit(index, pl.Int32)).otherwise(number)
        return rows.with_columns(item=number)

    def counts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """For each entry: ``rows`` that it is for, and how many of them are ``met`` by its conditions."""
        numbers = range(len(self.items))
        return rows.select(
            pl.concat_list(self._is_for(index).sum() for index in numbers).alias("rows"),
            pl.concat_list((self._is_for(index) & self._is_met(index)).sum() for index in numbers).alias(
                "met"
            ),
        ).explode("rows", "met")

    def check(self, rows: Sequence[int], met: Sequence[int], keys: Callable[[], Sequence[str]]) -> None:
        """Refuse conditions that no row meets.

        Args:
            rows: Of each entry, the rows that it is for.
            met: Of them those that meet its conditions.
            keys: Gives the keys of the rows' metadata.

        Raises:
            MixtureError: naming the entry, its conditions and the counts.
        """
        for item, count, taken in zip(self.items, rows, met, strict=True):
            if item.file is not None and not count:
                raise MixtureError(
                    f"mixture entry {named(item)}: none of the training rows comes from this file: its rows are held "
                    "out, were not accepted, or its corpus has not been read since the file is there"
                )
            if item.where and count and not taken:
                conditions = ", ".join(told(one.model_dump()) for one in item.where)
                free = any(one.field.startswith("metadata.") for one in item.where)
                there = f"; metadata has {', '.join(keys()) or 'nothing'}" if free else ""
                raise MixtureError(
                    f"mixture entry {named(item)}: where [{conditions}] is met by none of {count} training rows{there}"
                )

    def _is_for(self, index: int) -> pl.Expr:
        item = self.items[index]
        if item.file is not None:
            return (pl.col(_DATA_FILE) == item.file).fill_null(value=False) & (
                pl.col("corpus") == item.corpus
            )
        is_task = pl.col("task") == item.task
        if item.corpus is not None:
            return is_task & (pl.col("corpus") == item.corpus)
        named = [one.corpus for one in self.items if one.task == item.task and one.corpus is not None]
        return is_task & ~pl.col("corpus").is_in(named)

    def _is_met(self, index: int) -> pl.Expr:
        return met(self.items[index].where)


def named(item: MixtureItem) -> str:
    """An entry, for a person."""
    if item.dataset is not None:
        return f"{item.dataset}: {item.file} of {item.corpus}"
    what = item.task or item.file
    return f"{what}" if item.corpus is None else f"{item.corpus}/{what}"


def told(values: Mapping[str, Any]) -> str:
    """A condition or a weighting, for a person."""
    return " ".join(str(value) for value in values.values())
