"""What Dagster loads: assembly only. Loads in seconds, without torch."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

import assets.accepted_utterances
import assets.audio_22k
import assets.audio_quality
import assets.audio_tokens
import assets.augmentations
import assets.base_model
import assets.corpus_report
import assets.evaluation_report
import assets.latency_benchmark
import assets.leakage
import assets.raw_utterances
import assets.registered_model
import assets.speech_tokenizer
import assets.stage_packs
import assets.stages
import assets.training_jsonl
import assets.version_report
from assets.corpora import CorporaFile, load_corpora
from assets.programs import pipes_client
from assets.workspace import Workspace
from pipelines.jobs import build_jobs
from pipelines.schedules import build_nightly
from pipelines.sensors import build_new_raw_data
from pipelines.settings import Settings, default_home, read_settings


def build_assets(corpora: list[str]) -> list[dg.AssetsDefinition]:
    """All assets, the data ones partitioned by the names ``corpora``."""
    partitions = dg.StaticPartitionsDefinition(corpora)
    return [
        assets.raw_utterances.build(partitions),
        assets.audio_22k.build(partitions),
        assets.audio_quality.build(partitions),
        assets.accepted_utterances.build(partitions),
        assets.corpus_report.build(partitions),
        *assets.leakage.build(partitions),
        assets.training_jsonl.build(partitions),
        assets.augmentations.build(partitions),
        assets.speech_tokenizer.build(),
        assets.audio_tokens.build(partitions),
        assets.base_model.build(),
        assets.stage_packs.build(),
        *assets.stages.build_all(),
        assets.evaluation_report.build(),
        assets.latency_benchmark.build(),
        assets.registered_model.build(),
        assets.version_report.build(),
    ]


def build_definitions(home: Path, settings: Settings, quiet_programs: bool = False) -> dg.Definitions:
    """The code location of one home.

    Whether the corpora's roots are there is asked where one is read: a disk that is not mounted must not take the
    whole code location away.

    Raises:
        assets.corpora.CorporaFileError: if the home's corpora file says something that is not allowed.
    """
    corpora: CorporaFile | None = (
        load_corpora(Path(settings.corpora), check_roots=False) if settings.corpora else None
    )
    names = [entry.name for entry in corpora.corpora] if corpora else []
    workspace = Workspace(
        home=str(home),
        corpora_file=settings.corpora,
        profile_name=settings.profile,
        quiet_programs=quiet_programs,
    )
    return dg.Definitions(
        assets=build_assets(names),
        jobs=build_jobs(names),
        schedules=[build_nightly(names, settings.time_zone)],
        sensors=[build_new_raw_data(corpora)],
        executor=dg.in_process_executor,
        resources={
            "workspace": workspace,
            "pipes": pipes_client(workspace),
        },
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location of ``$DAGSTER_HOME``, or of this checkout's ``dagster_home``."""
    home = default_home()
    return build_definitions(home, read_settings(home))
