"""What a version was trained on, and how its corpora stand in the lake: for the version's report.

What was drawn for training is read from the packs, as it was then. Ledger, leakage and duplicates are those that the
lake has now; whether its training rows are still those of the version, a digest says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from training_jobs.lineage import json_file
from training_jobs.trained_on import CorpusShare, TrainedStage, forgotten_since, packs_of, shares
from validation.batches import database, files_of
from validation.lake import Lake
from validation.leakage import Verdict, verdict
from validation.ledger import Balance, balance, ledger_counts

_REASONS = 4  # shown of each corpus


@dataclass(frozen=True)
class CorpusFacts:
    """One corpus in the lake.

    Attributes:
        state: digest of what was read: the corpus' version, as nobody else gives it one.
        licences: of its accepted rows; ``hours``, of their audio, by split.
        lost: reasons of rows that were not accepted, the most frequent first, and how many had each.
    """

    corpus: str
    state: str
    rows: Balance
    licences: tuple[str, ...]
    hours: dict[str, float]
    lost: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class DataFacts:
    """All that is known of a version's data.

    Attributes:
        shares: what was trained on; ``corpora``: those in the lake.
        absent: corpora of the version that the lake does not have.
        is_same: whether the lake's training rows are still those of the version; ``None``: not known.
        leakage: ``None`` where it was not looked for; ``sets`` has its figures by evaluation set.
        duplicates: rows by kind; ``None`` where they were not looked for.
        forgotten: requests to forget rows that came after the training.
    """

    shares: Sequence[CorpusShare] = ()
    corpora: Sequence[CorpusFacts] = ()
    absent: Sequence[str] = ()
    is_same: bool | None = None
    leakage: Verdict | None = None
    sets: dict[str, Any] = field(default_factory=dict)
    duplicates: dict[str, int] | None = None
    forgotten: Sequence[str] = ()


def data_facts(
    lake: Lake, stages: Sequence[TrainedStage], corpora: Sequence[str], is_same: bool | None
) -> DataFacts:
    """Ask packs and lake.

    Args:
        stages: of the version, from :func:`training_jobs.trained_on.stages_of`.
        corpora: that it was evaluated on; those of its packs are found.
    """
    packs = packs_of(stages) if stages else []
    packed = {corpus for pack in packs for corpus in json_file(pack / "job.json").get("corpora", [])}
    names = list(dict.fromkeys([*sorted(packed), *corpora]))
    found = {name: _corpus(lake, name) for name in names}
    leaks, twice = (lake.read_manifest(step, "all") for step in ("leakage", "duplicates"))
    return DataFacts(
        shares=shares(packs, lake, sorted(packed)),
        corpora=[one for one in found.values() if one is not None],
        absent=[name for name, one in found.items() if one is None],
        is_same=is_same,
        leakage=verdict(lake) if leaks is not None and lake.list_files("tables/leakage") else None,
        sets={} if leaks is None else leaks["summary"]["sets"],
        duplicates=None if twice is None else twice["summary"]["kinds"],
        forgotten=forgotten_since(packs),
    )


def _corpus(lake: Lake, corpus: str) -> CorpusFacts | None:
    read = lake.read_manifest("raw_utterances", corpus)
    if read is None or not lake.has_table("accepted_utterances", corpus):
        return None
    files = files_of(lake, "accepted_utterances", [corpus])
    with database(lake) as connection:
        licences = connection.execute(f"SELECT DISTINCT licence FROM {files} ORDER BY ALL").fetchall()  # noqa: S608 - quoted
        hours = connection.execute(
            f"SELECT split, coalesce(sum(duration_s), 0) / 3600 FROM {files} GROUP BY split ORDER BY split"  # noqa: S608 - likewise
        ).fetchall()
    ended = ledger_counts(lake, corpus).filter(pl.col("outcome") != "accepted")
    return CorpusFacts(
        corpus=corpus,
        state=str(read["inputs"]),
        rows=balance(lake, corpus),
        licences=tuple(str(licence) for (licence,) in licences),
        hours={str(split): float(sum_h) for split, sum_h in hours},
        lost=tuple(ended.select("reason", "rows").head(_REASONS).iter_rows()),
    )
