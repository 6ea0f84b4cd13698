"""``voxline run``: the job ``everything`` in this home's Dagster instance, with its progress on the terminal."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from rich.console import Console

from assets.corpora import load_corpora
from assets.stages import GPU_POOL
from assets.workspace import Workspace
from pipelines.console import RunProgress
from pipelines.definitions import build_definitions
from pipelines.jobs import EVERYTHING, all_corpora
from pipelines.recovery import PROCESS_TAG, own_process, release_dead_runs
from pipelines.settings import Settings, prepare_home, read_settings, write_settings
from training_jobs.profile import base_model_directory, load_profile
from training_jobs.spec import STAGES, ProfileName, load_stage
from validation.errors import UserError


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
    sizes = load_profile(profile)
    if sizes.base_model.directory is not None:
        base_model_directory(sizes.base_model)
    for stage in STAGES:
        spec = load_stage(stage, profile)
        if spec.mixture not in sizes.mixtures:
            raise UserError(
                f"stage {stage}: no mixture {spec.mixture!r} in profile {profile}: {sorted(sizes.mixtures)}"
            )
    prepare_home(home)
    time_zone = read_settings(home).time_zone
    settings = Settings(corpora=str(corpora.resolve()), profile=profile, time_zone=time_zone)
    write_settings(home, settings)
    return settings


def open_instance(home: Path) -> dg.DagsterInstance:
    """The home's Dagster instance, with pool ``gpu`` limited to one unless its owner chose otherwise."""
    os.environ["DAGSTER_HOME"] = str(home)
    instance = dg.DagsterInstance.get()
    storage = instance.event_log_storage
    if GPU_POOL not in storage.get_concurrency_keys():
        storage.set_concurrency_slots(GPU_POOL, 1)
    return instance


def run_everything(home: Path, settings: Settings, console: Console) -> RunReport:
    """Execute ``everything`` for all corpora in this process; the heavy work is in its children.

    Args:
        home: a prepared home.
        settings: as :func:`configure` checked them.
    """
    definitions = build_definitions(home, settings, quiet_programs=True)
    assert settings.corpora is not None
    workspace = Workspace(home=str(home), corpora_file=settings.corpora, profile_name=settings.profile)
    job = definitions.resolve_job_def(EVERYTHING)
    run_id = str(uuid.uuid4())
    progress = RunProgress(console, steps=len(job.nodes))
    with open_instance(home) as instance:
        for dead in release_dead_runs(instance):
            console.print(f"run {dead} was killed before it ended; what it finished is kept", style="yellow")
        instance.watch_event_logs(run_id, None, progress)
        result = job.execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            run_id=run_id,
            tags={**all_corpora(workspace.corpus_names), PROCESS_TAG: own_process()},
            raise_on_error=False,
        )
        failure = None if result.success else _failure(result)
        instance.end_watch_event_logs(run_id, progress)
    return RunReport(run_id, result.success, failure, progress.recomputed_steps, progress.current_steps)


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The first failed step's own words."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = event.step_failure_data.user_failure_data
            text = (cause.description if cause else None) or (error.message if error else "")
            while error is not None and not cause and error.cause is not None:
                error = error.cause
                text = error.message
            return f"step {event.step_key}: {text.strip()}"
    return "the run failed outside its steps; see its page in the Dagster UI"
