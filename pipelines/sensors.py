"""``new_raw_data``: notices new, changed and removed files under the corpora's roots."""

import json
import time

import dagster as dg

from assets.corpora import CorporaFile, CorpusEntry, listing_digest
from assets.corpora.root import CorpusRoot
from pipelines.jobs import PREPARE_DATA, RANGE_END, RANGE_START
from validation.errors import UserError

# A preparation that failed is tried again: a disk comes back, a full one is emptied.
RETRY_AFTER_S = 3600.0


def build_new_raw_data(corpora: CorporaFile | None) -> dg.SensorDefinition:
    """A sensor whose cursor holds a digest of each root's listing (path, size, time of change).

    Its requests have no run key: Dagster would then never start the same listing twice, although a corpus may return
    to an earlier state.
    """

    @dg.sensor(
        name="new_raw_data",
        job_name=PREPARE_DATA,
        minimum_interval_seconds=60,
        description="Starts prepare_data for a corpus whose files changed, and again an hour after it failed.",
    )
    def new_raw_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if corpora is None:
            return dg.SkipReason("this home has no corpora yet: voxline run --corpora FILE --profile NAME")
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        listed = {entry.name: _listed(context, entry) for entry in corpora.corpora}
        now = {name: digest for name, digest in listed.items() if digest is not None}
        due = [
            name
            for name, digest in now.items()
            if seen.get(name) != digest or _failed(context.instance, name)
        ]
        if not due:
            return dg.SkipReason(f"nothing new under {len(now)} of {len(corpora.corpora)} roots")
        requests = [dg.RunRequest(tags={RANGE_START: name, RANGE_END: name}) for name in due]
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen | now, sort_keys=True))

    return new_raw_data


def _listed(context: dg.SensorEvaluationContext, entry: CorpusEntry) -> str | None:
    """Digest of the root's listing; ``None`` where it is not to be had: other corpora are not to wait for it."""
    try:
        if CorpusRoot(entry.root).exists:
            return listing_digest(entry)
    except UserError as error:
        context.log.warning(f"corpus {entry.name}: {error}; looking again later")
    else:
        context.log.warning(f"corpus {entry.name}: {entry.root} is not there; looking again later")
    return None


def _failed(instance: dg.DagsterInstance, corpus: str) -> bool:
    """Whether the corpus's last preparation failed, long enough ago."""
    tags = {RANGE_START: corpus, RANGE_END: corpus}
    records = instance.get_run_records(dg.RunsFilter(job_name=PREPARE_DATA, tags=tags), limit=1)
    return any(
        record.dagster_run.status == dg.DagsterRunStatus.FAILURE
        and time.time() - (record.end_time or 0.0) > RETRY_AFTER_S
        for record in records
    )
