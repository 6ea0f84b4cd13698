"""Which steps failed lately, and whether what they were to make has been made since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from pipelines.jobs import RANGE_END, RANGE_START

# Runs that failed; older ones are of no interest to anyone who asks how things are.
_RUNS = 50


@dataclass(frozen=True)
class Failure:
    """A step that failed.

    Attributes:
        timestamp: of the failure, in seconds since the epoch.
        corpora: that the run was to do.
    """

    run_id: str
    timestamp: float
    corpora: tuple[str, ...]

    def is_mended(self, instance: dg.DagsterInstance, asset: dg.AssetKey, is_partitioned: bool) -> bool:
        """Whether the asset was materialised afterwards: where it is partitioned, for each of the corpora."""
        wanted = [[corpus] for corpus in self.corpora] if is_partitioned and self.corpora else [None]
        return all(
            instance.fetch_materializations(
                dg.AssetRecordsFilter(asset, asset_partitions=partitions, after_timestamp=self.timestamp),
                limit=1,
            ).records
            for partitions in wanted
        )


def recent_failures(instance: dg.DagsterInstance, corpora: Sequence[str]) -> Mapping[str, Sequence[Failure]]:
    """From each step's key to its failures, the latest first.

    Args:
        corpora: of the home, in the file's order; of ranges over others only what is still there counts.
    """
    found: dict[str, list[Failure]] = defaultdict(list)
    statuses = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    for run in instance.get_runs(dg.RunsFilter(statuses=statuses), limit=_RUNS):
        done = _range(corpora, run.tags)
        for step in instance.get_run_step_stats(run.run_id):
            ended = step.end_time or step.start_time
            # A step without an end was under way when its run was killed.
            if (
                ended is not None
                and step.status is not None
                and step.status.value in ("FAILURE", "IN_PROGRESS")
            ):
                found[step.step_key].append(Failure(run.run_id, ended, done))
    return found


def _range(corpora: Sequence[str], tags: Mapping[str, str]) -> tuple[str, ...]:
    first, last = tags.get(RANGE_START), tags.get(RANGE_END)
    if first not in corpora or last not in corpora:
        return ()
    return tuple(corpora[corpora.index(first) : corpora.index(last) + 1])
