"""The one resource of every asset: which home, corpora and profile this code location works on."""

from __future__ import annotations

import os
import subprocess
from functools import cached_property
from pathlib import Path

import dagster as dg

from assets.corpora import CorporaFile, CorpusEntry, load_corpora
from training_jobs.jobs import Tracking
from training_jobs.profile import MixtureItem, Profile, load_profile
from training_jobs.spec import PROFILES, ProfileName, Stage, StageSpec, load_stage
from validation.errors import ConfigurationError, UserError
from validation.lake import Lake

LAKE_VARIABLE = "VOXLINE_LAKE"
REGISTERED_MODEL = "vita-audio-mctp"
# On every asset, partitioned or not: then the UI's button starts one run of the job for all corpora.
ONE_RUN = dg.BackfillPolicy.single_run()


class NotConfiguredError(UserError):
    """The home has no corpora file yet."""


class Workspace(dg.ConfigurableResource):
    """Paths and configuration of one home.

    ``quiet_programs`` keeps the programs' own output in their logs, where a terminal shows what they report.
    The lake's root is ``$VOXLINE_LAKE`` where that is set (a directory or ``s3://…``), else ``<home>/lake``.
    """

    home: str
    corpora_file: str | None = None
    profile_name: str = "tiny"
    quiet_programs: bool = False

    @property
    def lake_root(self) -> str:
        """Directory or URL of the lake."""
        return os.environ.get(LAKE_VARIABLE) or str(Path(self.home) / "lake")

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.lake_root)

    @cached_property
    def corpora(self) -> CorporaFile:
        """The corpora file, checked.

        Raises:
            NotConfiguredError: if the home has none.
            assets.corpora.CorporaFileError: if it says something that is not allowed.
        """
        if self.corpora_file is None:
            raise NotConfiguredError(
                f"{self.home} has no corpora yet: voxline run --corpora FILE --profile NAME"
            )
        return load_corpora(Path(self.corpora_file))

    def corpus(self, name: str) -> CorpusEntry:
        """The corpus ``name`` of the corpora file."""
        for entry in self.corpora.corpora:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.corpora.corpora]
        raise NotConfiguredError(f"{self.corpora_file} has no corpus {name!r}; it has {names}")

    @property
    def corpus_names(self) -> list[str]:
        """Names of the corpora, in the file's order."""
        return [entry.name for entry in self.corpora.corpora]

    def mixture(self, spec: StageSpec) -> list[MixtureItem]:
        """The stage's mixture.

        Raises:
            ConfigurationError: if the profile has no mixture of that name.
        """
        if spec.mixture not in self.profile.mixtures:
            raise ConfigurationError(
                f"stage {spec.stage} wants mixture {spec.mixture!r}; profile {self.profile_name} has "
                f"{sorted(self.profile.mixtures)}"
            )
        return self.profile.mixtures[spec.mixture]

    @cached_property
    def profile(self) -> Profile:
        """The profile's sizes."""
        return load_profile(self._profile_name)

    def stage(self, stage: Stage) -> StageSpec:
        """The stage's hyper-parameters in this profile."""
        return load_stage(stage, self._profile_name)

    @property
    def _profile_name(self) -> ProfileName:
        return next(name for name in PROFILES if name == self.profile_name)

    @property
    def training_dir(self) -> Path:
        """Where packs, checkpoints and reports of this profile lie: always a local or shared directory."""
        return Path(self.home) / "training" / self.profile_name

    @property
    def tracking_uri(self) -> str:
        """``$MLFLOW_TRACKING_URI``, else the home's own SQLite store."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(self.home).resolve()}/mlflow.db"

    def tracking(
        self, context: dg.AssetExecutionContext, tokenizer_digest: str, data_digest: str, stage: Stage
    ) -> Tracking:
        """Where programs report experiments, with the tags of DESIGN §7."""
        return Tracking(
            uri=self.tracking_uri,
            artifact_root=str(Path(self.home).resolve() / "mlartifacts"),
            tags={
                "stage": stage,
                "profile": self.profile_name,
                "dagster_run_id": context.run_id,
                "git_commit": git_commit(),
                "data_digest": data_digest,
                "tokenizer_digest": tokenizer_digest,
            },
        )


def git_commit() -> str:
    """The commit of the code that runs; ``unknown`` outside a checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return "unknown"
    answer = subprocess.run(  # the git on the PATH is the user's own
        ["git", "-C", str(root), "rev-parse", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"
