"""The one resource of every asset: which home, corpora and profile this code location works on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import dagster as dg

from assets.corpora import CorporaFile, CorpusEntry, load_corpora
from assets.corpora.root import CorpusRoot
from assets.mixture_files import MixtureFiles
from assets.processes import own_process
from assets.recovery import PROCESS_TAG, release_dead_runs
from assets.turns import turn
from training_jobs.jobs import Tracking, tracking_uri_without_secrets
from training_jobs.profile import MixtureFile, MixtureItem, Profile, load_profile
from training_jobs.spec import PROFILES, ProfileName, Stage, StageSpec, load_stage
from training_jobs.upstream_mixture import upstream_items
from validation.errors import ConfigurationError, UserError
from validation.lake import Lake

LAKE_VARIABLE = "VOXLINE_LAKE"
# On every asset, partitioned or not: then the UI's button starts one run of the job for all corpora.
ONE_RUN = dg.BackfillPolicy.single_run()


class NotConfiguredError(UserError):
    """The home has no corpora file yet."""


class MissingRootError(UserError):
    """A corpus's folder is not there now: a disk that is not mounted is no corpus without files."""


class Workspace(dg.ConfigurableResource):
    """Paths and configuration of one home.

    ``quiet_programs`` keeps the programs' own output in their logs, where a terminal shows what they report.
    The lake's root is ``$VOXLINE_LAKE`` where that is set (a directory or ``s3://…``), else ``<home>/lake``.
    """

    home: str
    corpora_file: str | None = None
    profile_name: str = "tiny"
    quiet_programs: bool = False

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Workspace]:
        """The workspace for one run, which has the home to itself meanwhile.

        The run says here which process it works in, and what a killed one left behind is tidied up once it is certain
        that no other run is at work.

        Raises:
            validation.lake_files.LakeError, validation.remote.StoreError: if the lake cannot be read and written now.
        """
        run, instance, log = context.run, context.instance, context.log
        assert run is not None and instance is not None and log is not None
        instance.add_run_tags(run.run_id, {PROCESS_TAG: own_process()})
        with turn(Path(self.home), run.run_id, log.info):
            for dead in release_dead_runs(instance, Path(self.home)):
                log.info(f"run {dead} was killed before it ended; what it finished is kept")
            self.lake.check()
            yield self

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
        """The corpora file, checked; whether the corpora's roots are there is asked where one is read.

        Raises:
            NotConfiguredError: if the home has none.
            assets.corpora.CorporaFileError: if it says something that is not allowed.
        """
        if self.corpora_file is None:
            raise NotConfiguredError(
                f"{self.home} has no corpora yet: voxline run --corpora FILE --profile NAME"
            )
        return load_corpora(Path(self.corpora_file), check_roots=False)

    def corpus(self, name: str) -> CorpusEntry:
        """The corpus ``name`` of the corpora file."""
        for entry in self.corpora.corpora:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.corpora.corpora]
        raise NotConfiguredError(f"{self.corpora_file} has no corpus {name!r}; it has {names}")

    def corpus_to_read(self, name: str) -> CorpusEntry:
        """The corpus ``name``, whose root is there.

        Raises:
            MissingRootError: naming file, corpus and root.
        """
        entry = self.corpus(name)
        if not CorpusRoot(entry.root).exists:
            raise MissingRootError(
                f"{self.corpora_file}: corpus {name!r}: root: {entry.root} is not a folder that is there"
            )
        return entry

    @property
    def corpus_names(self) -> list[str]:
        """Names of the corpora, in the file's order."""
        return [entry.name for entry in self.corpora.corpora]

    def mixture(self, spec: StageSpec, are_made: bool = True) -> list[MixtureItem]:
        """The entries of the stage's mixture, those of a mixture file by the corpora that read its data files.

        Args:
            are_made: Whether the files of ``training_jsonl`` must be there.

        Raises:
            ConfigurationError: if the profile has no mixture of that name, or its file cannot be followed.
        """
        if spec.mixture not in self.profile.mixtures:
            raise ConfigurationError(
                f"stage {spec.stage} wants mixture {spec.mixture!r}; profile {self.profile_name} has "
                f"{sorted(self.profile.mixtures)}"
            )
        mixture = self.profile.mixtures[spec.mixture]
        if isinstance(mixture, MixtureFile):
            return upstream_items(mixture, MixtureFiles(self.lake, self.corpora.corpora, are_made).find)
        return mixture

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
        """``$MLFLOW_TRACKING_URI``, else the home's own SQLite store.

        Raises:
            ConfigurationError: if the variable holds a password.
        """
        named = os.environ.get("MLFLOW_TRACKING_URI")
        return (
            tracking_uri_without_secrets(named)
            if named
            else f"sqlite:///{Path(self.home).resolve()}/mlflow.db"
        )

    @property
    def tracking_store(self) -> Tracking:
        """Where experiments are kept, for what adds no run to them."""
        return Tracking(uri=self.tracking_uri, artifact_root=self._artifact_root, tags={})

    @property
    def _artifact_root(self) -> str:
        return str(Path(self.home).resolve() / "mlartifacts")

    def tracking(
        self, context: dg.AssetExecutionContext, tokenizer_digest: str, data_digest: str, stage: Stage
    ) -> Tracking:
        """Where programs report experiments, with the tags of DESIGN §7."""
        return Tracking(
            uri=self.tracking_uri,
            artifact_root=self._artifact_root,
            tags={
                "stage": stage,
                "profile": self.profile_name,
                "dagster_run_id": context.run.run_id,
                "git_commit": git_commit(),
                "data_digest": data_digest,
                "tokenizer_digest": tokenizer_digest,
            },
        )


def git_commit() -> str:
    """The commit of the code that runs, with ``-dirty`` where tracked files differ; ``unknown`` outside a checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return "unknown"
    # Without a tag to count from, the name is the whole commit.
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    answer = subprocess.run(
        ["git", "-C", str(root), *describe],  # noqa: S607 - the git on the PATH is the user's own
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"
