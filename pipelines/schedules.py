"""``nightly_retraining``: every night at two, whatever is stale is made again, up to the registry."""

from collections.abc import Sequence

import dagster as dg

from assets.recovery import UNFINISHED
from pipelines.jobs import EVERYTHING, all_corpora


def build_nightly(corpora: Sequence[str], time_zone: str) -> dg.ScheduleDefinition:
    """The schedule over ``corpora`` at 02:00 in ``time_zone``.

    Each asset leaves what is up to date alone, so that a night without news costs seconds.
    """

    @dg.schedule(
        name="nightly_retraining",
        job_name=EVERYTHING,
        cron_schedule="0 2 * * *",
        execution_timezone=time_zone,
        description="Materialises what is stale, then trains, benchmarks and registers.",
    )
    def nightly_retraining(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if not corpora:
            return dg.SkipReason("this home has no corpora yet: voxline run --corpora FILE --profile NAME")
        running = context.instance.get_runs(
            dg.RunsFilter(job_name=EVERYTHING, statuses=list(UNFINISHED)),
            limit=1,
        )
        if running:
            return dg.SkipReason(f"run {running[0].run_id} of {EVERYTHING} has not ended yet")
        night = context.scheduled_execution_time.date().isoformat()
        return dg.RunRequest(run_key=night, tags={**all_corpora(corpora), "voxline/night": night})

    return nightly_retraining
