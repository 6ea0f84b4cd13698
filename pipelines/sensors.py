"""``new_raw_data``: notices new, changed and removed files under the corpora's roots."""

import json

import dagster as dg

from assets.corpora import CorporaFile, listing_digest
from pipelines.jobs import RANGE_END, RANGE_START


def build_new_raw_data(corpora: CorporaFile | None) -> dg.SensorDefinition:
    """A sensor whose cursor holds a digest of each root's listing (path, size, time of change)."""

    @dg.sensor(
        name="new_raw_data",
        job_name="prepare_data",
        minimum_interval_seconds=60,
        description="Starts prepare_data for a corpus whose files changed.",
    )
    def new_raw_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if corpora is None:
            return dg.SkipReason("this home has no corpora yet: voxline run --corpora FILE --profile NAME")
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        now = {entry.name: listing_digest(entry) for entry in corpora.corpora}
        changed = [name for name, digest in now.items() if seen.get(name) != digest]
        if not changed:
            return dg.SkipReason(f"nothing new under {len(now)} roots")
        requests = [
            dg.RunRequest(run_key=f"{name}:{now[name]}", tags={RANGE_START: name, RANGE_END: name})
            for name in changed
        ]
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(now, sort_keys=True))

    return new_raw_data
