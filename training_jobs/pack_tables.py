"""What a pack holds, counted for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.drawing import Drawing
from training_jobs.plan import PLAN_FILE

_NAMED = 20  # values of a field; plan.json has all
_SHOWN = ("rows", "drawn", "samples", "tokens")
_OF_ENTRY = ("rows", "drawn", "samples", "tokens", "hours")
_COLUMNS = ("rows", "too_long", "cut", "drawn", "not_drawn", "samples", "tokens", "hours")


def source_counts(
    rows: Mapping[tuple[str, str], int],
    too_long: Mapping[tuple[str, str], int],
    cut: Mapping[tuple[str, str], int],
    drawing: Drawing,
    lengths: NDArray[np.int32],
    drawn: NDArray[np.int64],
) -> dict[str, dict[str, float]]:
    """For each source its training rows: too long, cut, drawn (each once), not drawn; and what was packed.

    The latter as samples, tokens, and hours of audio: of rows that were cut those of the whole row.
    """
    of_sample = drawing.array("source")
    size = len(drawing.sources)
    once = np.bincount(of_sample[np.unique(drawn)], minlength=size)
    samples = np.bincount(of_sample[drawn], minlength=size)
    tokens = np.bincount(of_sample[drawn], weights=lengths[drawn], minlength=size)
    hours = np.bincount(of_sample[drawn], weights=drawing.array("seconds")[drawn], minlength=size) / 3600
    place = {source: index for index, source in enumerate(drawing.sources)}
    counts: dict[str, dict[str, float]] = {}
    for source, count in rows.items():
        found = place.get(source)
        of_source = (0, 0, 0) if found is None else (once[found], samples[found], tokens[found])
        was_drawn, packed, of_tokens = (int(number) for number in of_source)
        long = too_long.get(source, 0)
        counts["/".join(source)] = {
            "rows": count,
            "too_long": long,
            "cut": cut.get(source, 0),
            "drawn": was_drawn,
            "not_drawn": count - long - was_drawn,
            "samples": packed,
            "tokens": of_tokens,
            "hours": 0.0 if found is None else round(float(hours[found]), 4),
        }
    return counts


def sources_markdown(sources: Mapping[str, Mapping[str, float]]) -> str:
    """The counts of each source as a table."""
    lines = [f"| corpus/task | {' | '.join(name.replace('_', ' ') for name in _COLUMNS)} |"]
    lines += [f"|---{'|---:' * len(_COLUMNS)}|"]
    lines += [
        f"| {name} | {' | '.join(f'{counts[column]:,}' for column in _COLUMNS)} |"
        for name, counts in sources.items()
    ]
    return "\n".join(lines)


def entries_markdown(entries: Mapping[str, Mapping[str, float]]) -> str:
    """What was drawn by each entry of the mixture, as a table."""
    lines = [f"| entry | {' | '.join(_OF_ENTRY)} |", f"|---{'|---:' * len(_OF_ENTRY)}|"]
    lines += [
        f"| {name.replace('|', '/')} | {' | '.join(f'{counts[column]:,}' for column in _OF_ENTRY)} |"
        for name, counts in entries.items()
    ]
    return "\n".join(lines)


def drawn_markdown(drawn_by: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """What was drawn by the values of each field, as one table; of numbers, the means."""
    lines = ["| field | value | rows | drawn | samples | tokens |", "|---|---|---:|---:|---:|---:|"]
    for field, values in drawn_by.items():
        for name, counts in list(values.items())[:_NAMED]:
            value = name.replace("|", "/")
            if "mean_of_rows" in counts:
                value = f"mean {counts['mean_of_rows']:g} of rows, {counts['mean_of_samples']:g} of samples"
            cells = [
                f"{counts[name]:,}" if name in counts else ""
                for name in ("rows", "drawn", "samples", "tokens")
            ]
            lines.append(f"| {field} | {value} | {' | '.join(cells)} |")
        if len(values) > _NAMED:
            lines.append(f"| {field} | {len(values) - _NAMED} more in `{PLAN_FILE}` | | | | |")
    return "\n".join(lines)


def too_long_markdown(named: Mapping[str, int], sequence_length: int) -> str:
    """The first of the samples that are longer than a row, with their tokens."""
    if not named:
        return f"none is longer than {sequence_length} tokens"
    lines = [f"longer than {sequence_length} tokens (all in the table `sample_ledger`):", ""]
    lines += [f"- `{name}`: {length:,} tokens" for name, length in named.items()]
    return "\n".join(lines)
