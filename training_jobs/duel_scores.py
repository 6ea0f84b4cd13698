"""Two models' answers to the same held-out rows, figure by figure, with the interval of each difference.

A row that only one of them could be asked, because its prompt is too long for the other, is the other's failure: all of
its words wrong. Rows that neither could be asked are not there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import get_args

import polars as pl

from training_jobs.bootstrap import Interval, paired_difference, rate_interval, resampled_by
from training_jobs.comparison import Comparison
from training_jobs.evaluation_rows import UNKNOWN_SPEAKER, SpeakerGroup
from training_jobs.gate import GateThresholds

_KEY = ("task", "corpus", "row_id", "mode")
_SHOWN = ("speaker_group", "speaker", "words")
# What figures are made of, by the beginnings of their names among the evaluation's overall figures.
_GROUPS: dict[str, Mapping[str, str]] = {
    **{f"asr_{group}": {"task": "asr", "speaker_group": group} for group in get_args(SpeakerGroup)},
    "sqa": {"task": "sqa"},
    "tts": {"task": "tts"},
}
_BY_WORDS = ("asr", "tts")  # of an answer to a question, the words are not counted


def side_by_side(candidate: pl.DataFrame, champion: pl.DataFrame) -> pl.DataFrame:
    """One line per row and mode that either has answered, from both row tables: errors of each.

    Columns: those of ``rows.parquet`` that name the row, ``words``, and ``word_errors`` and ``right`` of each, such as
    ``champion_right``.
    """
    sides = [
        table.select(
            *_KEY,
            *_SHOWN,
            pl.col("word_errors").alias(f"{name}_word_errors"),
            pl.col("exact").alias(f"{name}_right"),
        )
        for name, table in (("candidate", candidate), ("champion", champion))
    ]
    joined = sides[0].join(sides[1], on=_KEY, how="full", coalesce=True)
    return joined.with_columns(pl.coalesce(name, f"{name}_right") for name in _SHOWN).with_columns(
        *(pl.col(f"{side}_word_errors").fill_null(pl.col("words")) for side in ("candidate", "champion")),
        *(pl.col(f"{side}_right").fill_null(False) for side in ("candidate", "champion")),
    )


def unasked(candidate: pl.DataFrame, champion: pl.DataFrame) -> dict[str, int]:
    """Rows that only the other could be asked, of ``candidate`` and of ``champion``."""
    tables = {"candidate": candidate, "champion": champion}
    asked = {name: table.select("task", "corpus", "row_id").unique() for name, table in tables.items()}
    keys = ["task", "corpus", "row_id"]
    return {
        "candidate": asked["champion"].join(asked["candidate"], on=keys, how="anti").height,
        "champion": asked["candidate"].join(asked["champion"], on=keys, how="anti").height,
    }


def score_comparisons(pairs: pl.DataFrame, thresholds: GateThresholds, seed: int) -> list[Comparison]:
    """Every word error rate and exact match, in each mode, from :func:`side_by_side`."""
    found = []
    for mode, name, part in _parts(pairs):
        groups = _speakers(part)
        for figure in _figures(name, part):
            ours, theirs = (_counts(part, f"{side}_", figure) for side in ("candidate", "champion"))
            interval = paired_difference(*ours, *theirs, seed, groups=groups)
            rates = [sum(errors) / sum(units) for errors, units in (ours, theirs)]
            found.append(
                _comparison(f"{mode}/{name}_{figure}", figure, rates, interval, thresholds, _basis(groups))
            )
    return found


def comparisons_with_record(
    candidate: pl.DataFrame, record: Mapping[str, float], thresholds: GateThresholds, seed: int
) -> list[Comparison]:
    """The candidate's figures against those that were noted of a model which cannot be run any more.

    Args:
        candidate: its row table.
        record: ``<mode>/<figure>`` to value, taken on the same rows.
    """
    found = []
    table = candidate.rename({"word_errors": "candidate_word_errors", "exact": "candidate_right"})
    for mode, name, part in _parts(table):
        groups = _speakers(part)
        for figure in _figures(name, part):
            noted = record.get(f"{mode}/{name}_{figure}")
            if noted is None:
                continue
            own = rate_interval(*_counts(part, "candidate_", figure), seed, groups=groups)
            interval = Interval(own.value - noted, own.low - noted, own.high - noted)
            basis = f"{_basis(groups)}, the champion's as noted"
            found.append(
                _comparison(
                    f"{mode}/{name}_{figure}", figure, [own.value, noted], interval, thresholds, basis
                )
            )
    return found


def without(table: pl.DataFrame, rows: Collection[tuple[str, str]]) -> pl.DataFrame:
    """The table without the rows of these corpora and ids."""
    named = pl.DataFrame(sorted(rows), schema={"corpus": pl.String, "row_id": pl.String}, orient="row")
    return table.join(named, on=["corpus", "row_id"], how="anti")


def _parts(table: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    for mode in sorted(table["mode"].unique()):
        for name, wanted in _GROUPS.items():
            part = table.filter(mode=mode, **wanted).sort("corpus", "row_id")
            if part.height:
                yield mode, name, part


def _figures(name: str, part: pl.DataFrame) -> list[str]:
    has_words = name.startswith(_BY_WORDS) and int(part["words"].sum()) > 0
    return ["wer", "exact"] if has_words else ["exact"]


def _counts(part: pl.DataFrame, side: str, figure: str) -> tuple[list[int], list[int]]:
    if figure == "wer":
        return part[f"{side}word_errors"].to_list(), part["words"].to_list()
    return part[f"{side}right"].cast(pl.Int64).to_list(), [1] * part.height


def _speakers(part: pl.DataFrame) -> list[str]:
    """Whom each row belongs to; a row of a voice that nobody named is by itself."""
    return [
        f"{corpus}\0{speaker if speaker != UNKNOWN_SPEAKER else row_id}"
        for corpus, speaker, row_id in part.select("corpus", "speaker", "row_id").iter_rows()
    ]


def _basis(groups: Sequence[str]) -> str:
    by = resampled_by(groups)
    return f"{len(groups)} rows" + (f" of {len(set(groups))} speakers" if by == "speaker" else "")


def _comparison(
    name: str,
    figure: str,
    rates: Sequence[float],
    interval: Interval,
    thresholds: GateThresholds,
    basis: str,
) -> Comparison:
    is_error = figure == "wer"
    return Comparison(
        name=name,
        kind="rate",
        candidate=rates[0],
        champion=rates[1],
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        limit=thresholds.max_wer_increase if is_error else -thresholds.max_exact_decrease,
        more_is_worse=is_error,
        basis=basis,
    )
