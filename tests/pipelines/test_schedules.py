"""The nightly schedule and the sensor of new files start what they should."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg

from pipelines.definitions import build_assets
from pipelines.jobs import EVERYTHING, RANGE_END, RANGE_START, build_jobs
from pipelines.schedules import build_nightly


def evaluate(corpora: list[str], instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2026, 11, 22, 2, 0, tzinfo=ZoneInfo("Asia/Shanghai")),
    )
    answer = build_nightly(corpora, "Asia/Shanghai")(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_a_night_asks_for_all_corpora_in_one_run() -> None:
    with dg.instance_for_test() as instance:
        request = evaluate(["a", "b", "c"], instance)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2026-11-22"
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("a", "c")


def test_a_night_without_corpora_says_why_it_does_nothing() -> None:
    with dg.instance_for_test() as instance:
        answer = evaluate([], instance)
    assert isinstance(answer, dg.SkipReason)
    assert "no corpora" in str(answer.skip_message)


def test_two_nights_never_run_at_once() -> None:
    with dg.instance_for_test() as instance:
        run = dg.DagsterRun(job_name=EVERYTHING, run_id="0" * 32, status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)
        answer = evaluate(["a"], instance)
    assert isinstance(answer, dg.SkipReason)
    assert "0" * 32 in str(answer.skip_message)


def test_the_schedule_stands_at_two_in_its_time_zone() -> None:
    schedule = build_nightly(["a"], "Asia/Shanghai")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "Asia/Shanghai")


def test_every_asset_belongs_to_everything() -> None:
    definitions = dg.Definitions(
        assets=build_assets(["a"]),
        jobs=build_jobs(["a"]),
        resources={"workspace": object(), "pipes": object()},
    )
    selected = set(definitions.resolve_job_def(EVERYTHING).asset_layer.selected_asset_keys)
    assert selected == set(definitions.resolve_asset_graph().get_all_asset_keys())
