"""``voxline run``: the job ``everything`` in this home's Dagster instance, with its progress on the terminal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.errors import DagsterExecutionInterruptedError  # not exported at the root
from rich.console import Console

from assets.corpora import load_corpora
from assets.processes import own_process
from assets.recovery import PROCESS_TAG
from assets.stages import GPU_POOL
from assets.workspace import Workspace
from pipelines.console import RunProgress, shown_live, was_made
from pipelines.definitions import build_definitions
from pipelines.jobs import all_corpora
from pipelines.settings import Settings, prepare_home, read_settings, write_settings
from training_jobs.jobs import tracking_uri_without_secrets
from training_jobs.mixture import Mixture
from training_jobs.profile import base_model_directory
from training_jobs.run_check import check_run
from training_jobs.spec import STAGES, ProfileName


@dataclass(frozen=True)
class RunReport:
    """What a run came to."""

    run_id: str
    succeeded: bool
    failure: str | None
    recomputed: list[str]
    up_to_date: list[str]


def configure(home: Path, corpora: Path, profile: ProfileName) -> Settings:
    """Check everything that is configured, and keep it as the home's settings.

    Raises:
        UserError: naming file, entry, value and what is allowed; then nothing was written.
    """
    load_corpora(corpora)
    workspace = Workspace(home=str(home), corpora_file=str(corpora.resolve()), profile_name=profile)
    if workspace.profile.base_model.directory is not None:
        base_model_directory(workspace.profile.base_model)
    specs = [workspace.stage(stage) for stage in STAGES]
    check_run(workspace.profile, specs)
    for spec in {spec.mixture: spec for spec in specs}.values():
        Mixture(workspace.mixture(spec, are_made=False), workspace.corpus_names)
    tracking_uri_without_secrets(workspace.tracking_uri)
    workspace.lake.check()
    time_zone = read_settings(home).time_zone
    settings = Settings(corpora=workspace.corpora_file, profile=profile, time_zone=time_zone)
    prepare_home(home)
    write_settings(home, settings)
    return settings


def open_instance(home: Path) -> dg.DagsterInstance:
    """The home's Dagster instance, with pool ``gpu`` limited to one unless its owner chose otherwise."""
    instance = dg.DagsterInstance.from_config(str(home))
    storage = instance.event_log_storage
    if GPU_POOL not in storage.get_concurrency_keys():
        storage.set_concurrency_slots(GPU_POOL, 1)
    return instance


def run_job(home: Path, settings: Settings, console: Console, name: str) -> RunReport:
    """Execute a job for all corpora in this process; the heavy work is in its children.

    Args:
        home: a prepared home.
        settings: as :func:`configure` checked them.
    """
    definitions = build_definitions(home, settings, quiet_programs=True)
    assert settings.corpora is not None
    workspace = Workspace(home=str(home), corpora_file=settings.corpora, profile_name=settings.profile)
    job = definitions.resolve_job_def(name)
    run_id = str(uuid.uuid4())
    with open_instance(home) as instance:
        progress = RunProgress(console, len(job.nodes), lambda pool: _holders(instance, pool))
        with shown_live(instance, run_id, progress):
            result = job.execute_in_process(
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                instance=instance,
                run_id=run_id,
                tags={**all_corpora(workspace.corpus_names), PROCESS_TAG: own_process()},
                raise_on_error=False,
            )
    return report_of(result)


def report_of(result: dg.ExecuteInProcessResult) -> RunReport:
    """What the run's own events say."""
    made: dict[str, bool] = {}
    for event in result.all_events:
        step = event.step_key or ""
        if event.is_step_success:
            made.setdefault(step, True)
        elif event.is_step_materialization:
            metadata: Mapping[str, Any] = event.step_materialization_data.materialization.metadata
            made[step] = made.get(step, False) or was_made(metadata)
    succeeded = {event.step_key for event in result.all_events if event.is_step_success}
    return RunReport(
        run_id=result.run_id,
        succeeded=result.success,
        failure=None if result.success else _failure(result),
        recomputed=[step for step, was in made.items() if was and step in succeeded],
        up_to_date=[step for step, was in made.items() if not was and step in succeeded],
    )


def _holders(instance: dg.DagsterInstance, pool: str) -> list[str]:
    return sorted(instance.event_log_storage.get_concurrency_info(pool).active_run_ids)


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The first failed step's own words."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            if error is not None and error.cls_name == DagsterExecutionInterruptedError.__name__:
                return f"it was interrupted in step {event.step_key}"
            cause = event.step_failure_data.user_failure_data
            text = (cause.description if cause else None) or (error.message if error else "")
            while error is not None and not cause and error.cause is not None:
                error = error.cause
                text = error.message
            return f"step {event.step_key}: {text.strip()}"
    # Outside the steps: interrupted, or a resource that could not be made.
    words = [event.message for event in result.all_events if event.event_type == DagsterEventType.RUN_FAILURE]
    assert words and words[-1] is not None
    return words[-1]
