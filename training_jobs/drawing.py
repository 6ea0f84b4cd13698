"""How often each sample is drawn by a mixture: once for a whole stage, the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training_jobs.drawn_values import FieldValues, coded, value_text
from training_jobs.mixture import Mixture, MixtureError, named, told
from training_jobs.mixture_rules import ByMap, ByTemperature, ByValue
from training_jobs.profile import MixtureItem
from validation.metadata import column_of


class Drawing:
    """What must be remembered of each sample to draw from them, in arrays: no object per sample."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self.sources: list[tuple[str, str]] = []  # (corpus, task)
        self._parts: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("source", "item", "seconds", "weight", "group")
        }
        self._groups: dict[str, int] = {}
        self.values = {field: FieldValues(field) for field in mixture.fields}

    def add(self, rows: pl.DataFrame) -> None:
        """Remember these samples, from :meth:`Mixture.with_items`."""
        pairs = list(rows.select("corpus", "task").iter_rows())
        for pair in dict.fromkeys(pairs):
            if pair not in self.sources:
                self.sources.append(pair)
        place = {pair: index for index, pair in enumerate(self.sources)}
        self._parts["source"].append(np.array([place[pair] for pair in pairs], dtype=np.int32))
        self._parts["item"].append(rows["item"].to_numpy().astype(np.int32))
        self._parts["seconds"].append(rows["seconds"].to_numpy().astype(np.float32))
        if any(item.weight_by is not None for item in self.mixture.items):
            self._parts["weight"].append(self._weights(rows))
            self._parts["group"].append(self._group_codes(rows))
        for field, values in self.values.items():
            values.add(rows[column_of(field)])

    def array(self, name: str) -> NDArray[Any]:
        """``source``, ``item``, ``seconds``, ``weight`` or ``group`` of every sample."""
        parts = self._parts[name]
        self._parts[name] = [np.concatenate(parts)] if parts else [np.empty(0, dtype=np.int64)]
        return self._parts[name][0]

    def _weights(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        weight = pl.lit(1.0)
        for index, item in enumerate(self.mixture.items):
            by = item.weight_by
            if isinstance(by, ByValue):
                column = pl.col(column_of(by.field)).cast(pl.Float64, strict=False)
                one = column.fill_null(by.unknown)
            elif isinstance(by, ByMap):
                text = value_text(by.field)
                one = text.replace_strict(by.weights, default=by.other, return_dtype=pl.Float64)
            else:
                continue
            weight = pl.when(pl.col("item") == index).then(one).otherwise(weight)
        return rows.select(pl.repeat(1.0, pl.len()) * weight).to_series().to_numpy()

    def _group_codes(self, rows: pl.DataFrame) -> NDArray[np.int32]:
        group = pl.lit(None, pl.String)
        for index, item in enumerate(self.mixture.items):
            if isinstance(item.weight_by, ByTemperature):
                one = pl.concat_str(pl.lit(f"{index} "), value_text(item.weight_by.field))
                group = pl.when(pl.col("item") == index).then(one).otherwise(group)
        texts = rows.select(pl.when(pl.col("item").is_not_null()).then(group).alias("group")).to_series()
        return coded(texts.fill_null(""), self._groups)

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Samples in the order in which they are drawn, one as often as it is drawn.

        Raises:
            MixtureError: if an entry weighs no sample, or one with less than nothing.
        """
        source, item = self.array("source"), self.array("item")
        drawn: list[NDArray[np.int64]] = []
        for pair in sorted(self.sources):
            of_source = source == self.sources.index(pair)
            for index, entry in enumerate(self.mixture.items):
                if entry.weight_by is None and entry.file is None:
                    members = np.flatnonzero(of_source & (item == index))
                    # Nothing is drawn of nothing: the random numbers are those of the sources that there are.
                    drawn += [members[draw(len(members), entry.ratio, rng)]] if len(members) else []
        for index, entry in enumerate(self.mixture.items):
            if entry.weight_by is None and entry.file is None:
                continue
            members = np.flatnonzero(item == index)
            if entry.file is not None:
                drawn.append(members[draw_count(len(members), count_of(entry, len(members)), rng)])
            else:
                weights = self._weights_of(members, entry)
                drawn.append(members[draw_weighted(weights, entry.ratio, rng)])
        return np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int64)

    def tasks(self) -> tuple[list[str], NDArray[np.int32]]:
        """The tasks there are, and the number of each source's."""
        names = sorted({task for _, task in self.sources})
        return names, np.array([names.index(task) for _, task in self.sources], dtype=np.int32)

    def by_entry(self, lengths: NDArray[np.int32], drawn: NDArray[np.int64]) -> dict[str, dict[str, float]]:
        """For each entry of the mixture: rows that fit, drawn (each once), samples, tokens and hours of them."""
        item, size = self.array("item"), len(self.mixture.items)
        once = np.bincount(item[np.unique(drawn)], minlength=size)
        columns = {
            "rows": np.bincount(item, minlength=size),
            "drawn": once,
            "samples": np.bincount(item[drawn], minlength=size),
            "tokens": np.bincount(item[drawn], weights=lengths[drawn], minlength=size).astype(np.int64),
        }
        hours = np.bincount(item[drawn], weights=self.array("seconds")[drawn], minlength=size) / 3600
        return {
            f"{number}: {named(entry)}": {
                **{name: int(counts[number]) for name, counts in columns.items()},
                "hours": round(float(hours[number]), 4),
            }
            for number, entry in enumerate(self.mixture.items)
        }

    def _weights_of(self, members: NDArray[np.int64], entry: MixtureItem) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = self.array("weight")[members]
        if isinstance(entry.weight_by, ByTemperature) and len(members):
            group = self.array("group")[members]
            _, place, sizes = np.unique(group, return_inverse=True, return_counts=True)
            weights = (sizes.astype(np.float64) ** (entry.weight_by.alpha - 1.0))[place]
        if (wrong := np.flatnonzero(~(weights >= 0) | ~np.isfinite(weights))).size:
            raise MixtureError(
                f"mixture entry {named(entry)}: {len(wrong)} of {len(members)} rows have a weight below 0, such as "
                f"{weights[wrong[0]]:g}"
            )
        if len(members) and not weights.any():
            assert entry.weight_by is not None
            raise MixtureError(
                f"mixture entry {named(entry)}: weight_by {told(entry.weight_by.model_dump())} gives each of "
                f"{len(members)} rows the weight 0: of none the field is known, or no value is named"
            )
        return weights


def draw(count: int, ratio: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of a source's samples at ``ratio``, once for a whole stage: 2.5 is all of them twice and a random half.

    The part drawn at random is rounded to whole samples; of a source that is not empty at least one is taken.
    """
    whole, part = divmod(ratio, 1)
    drawn = round(count * part)
    if count and not whole:
        drawn = max(1, drawn)
    more = np.sort(rng.choice(count, size=drawn, replace=False))
    return np.concatenate([np.tile(np.arange(count), int(whole)), more]).astype(np.int64)


def count_of(entry: MixtureItem, rows: int) -> int:
    """How many rows upstream's loader draws of a file with so many."""
    wanted = int(rows * entry.ratio)
    return wanted if entry.at_most is None else min(wanted, entry.at_most)


def draw_count(rows: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of just ``count`` of a file's rows: whole passes over all of them, and a random part once more."""
    if not rows:
        return np.empty(0, dtype=np.int64)
    whole, part = divmod(count, rows)
    more = np.sort(rng.choice(rows, size=part, replace=False))
    return np.concatenate([np.tile(np.arange(rows), whole), more]).astype(np.int64)


def draw_weighted(weights: NDArray[np.float64], ratio: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of samples, ``ratio`` times their number in all, each in proportion to its weight.

    A sample that is due 2.3 times is drawn twice, and a third time with probability 0.3: by systematic sampling, so
    that the number of all draws is the one asked for.
    """
    count = len(weights)
    if not count:
        return np.empty(0, dtype=np.int64)
    wanted = max(1, round(count * ratio))
    due = weights / weights.sum() * wanted
    whole = np.floor(due + 1e-9)
    part = np.clip(due - whole, 0.0, None)
    order = rng.permutation(count)
    ends = np.floor(np.cumsum(part[order]) + rng.random())
    more = order[np.diff(ends, prepend=0.0) > 0]
    drawn: NDArray[np.int64] = np.concatenate(
        [np.repeat(np.arange(count), whole.astype(np.int64)), np.sort(more)]
    )
    return drawn
