"""The sample ledger's balance: every training row of a stage's pack has one end, and the pack holds what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import polars as pl

from validation.batches import database, parquet, write_batches
from validation.lake import Lake
from validation.sample_contracts import SAMPLE_OUTCOMES

_TABLE = "tables/sample_ledger"


@dataclass(frozen=True, slots=True)
class SampleBalance:
    """Rows of one source (corpus and task) in one stage's ledger, and how they ended.

    Attributes:
        draws: How often rows are in the pack.
        duplicates: Rows that stand in it more than once.
    """

    rows: int
    accepted: int
    rejected: int
    unused: int
    draws: int
    duplicates: int

    def faults(self, counted: Mapping[str, float]) -> list[str]:
        """What does not agree with the pack's own counts: rows as they were read, and samples as they were packed."""
        pairs = {
            "rows": (self.rows, counted["rows"]),
            "rows = accepted + rejected + unused": (
                self.rows,
                self.accepted + self.rejected + self.unused,
            ),
            "too long": (self.rejected, counted["too_long"]),
            "drawn": (self.accepted, counted["drawn"]),
            "not drawn": (self.unused, counted["not_drawn"]),
            "samples": (self.draws, counted["samples"]),
            "duplicates": (self.duplicates, 0),
        }
        return [
            f"{name}: {found:,} in the ledger, {wanted:,} in the pack"
            for name, (found, wanted) in pairs.items()
            if found != wanted
        ]


def sample_partition(corpus: str, profile: str, stage: str) -> str:
    """Name of the part of the sample ledger that holds one corpus' rows for one stage."""
    return f"{corpus}--{profile}-{stage}"


def sample_parts(lake: Lake, profile: str, stage: str) -> list[str]:
    """Paths of the parts of one stage, of whatever corpus."""
    ending = sample_partition("", profile, stage) + ".parquet"
    paths = [path for path in lake.list_files(_TABLE) if path.endswith(ending)]
    return sorted(
        path for path in paths if path.rpartition("/")[2].partition("--")[2] == ending.removeprefix("--")
    )


def write_sample_ledger(lake: Lake, profile: str, stage: str, rows: Iterable[pl.DataFrame]) -> int:
    """Replace one stage's ledger; gives its rows.

    Args:
        rows: In batches, each corpus' rows one after another, of which one batch is in memory at once.
    """
    before, written, count = sample_parts(lake, profile, stage), set[str](), 0
    by_corpus = groupby(_parts(rows), key=itemgetter(0))
    for corpus, frames in by_corpus:
        partition = sample_partition(corpus, profile, stage)
        path = lake.table_path("sample_ledger", partition)
        assert path not in written, f"the rows of {corpus} do not follow one another"
        count += write_batches(lake, "sample_ledger", partition, (frame for _, frame in frames))
        written.add(path)
    for path in before:
        if path not in written:
            lake.remove(path)
    return count


def _parts(rows: Iterable[pl.DataFrame]) -> Iterator[tuple[str, pl.DataFrame]]:
    for batch in rows:
        for part in batch.partition_by("corpus", maintain_order=True):
            yield str(part["corpus"][0]), part


def sample_balances(lake: Lake, profile: str, stage: str) -> dict[str, SampleBalance]:
    """The balance of each source of one stage's ledger, by ``corpus/task``."""
    paths = sample_parts(lake, profile, stage)
    if not paths:
        return {}
    outcomes = ", ".join(f"count(*) FILTER (outcome = '{name}')" for name in SAMPLE_OUTCOMES)
    key = "md5_number(corpus || ' ' || row_id)"
    statement = f"""SELECT corpus || '/' || task AS source, count(*), {outcomes}, sum(draws)::BIGINT,
            count(*) - count(DISTINCT {key})
        FROM {parquet(lake, paths)} GROUP BY source ORDER BY source"""  # noqa: S608 - the paths are quoted
    with database(lake) as connection:
        found = connection.execute(statement).fetchall()
    return {source: SampleBalance(*numbers) for source, *numbers in found}


def balance_faults(
    balances: Mapping[str, SampleBalance], counted: Mapping[str, Mapping[str, float]]
) -> Sequence[str]:
    """Each source of which ledger and pack do not say the same, with the numbers."""
    nothing = SampleBalance(0, 0, 0, 0, 0, 0)
    none = dict.fromkeys(("rows", "too_long", "drawn", "not_drawn", "samples"), 0)
    return [
        f"{source}: {fault}"
        for source in sorted({*balances, *counted})
        for fault in balances.get(source, nothing).faults(counted.get(source, none))
    ]
