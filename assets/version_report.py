"""``version_report``: one HTML page on which a registered version can be judged, accepted or refused."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Output, Outputs, inputs_digest
from assets.programs import Pipes, command_of, materialize_by_program
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import RESULT_FILE, VersionReportJob
from training_jobs.registered import version_numbered
from training_jobs.tracking_store import connect
from training_jobs.version_records import page_path
from training_jobs.version_report import REPORT_TAG, is_attached
from validation.lake import MissingTableError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

RECIPE = 1
_ASSET = "version_report"


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        name=_ASSET,
        deps=["registered_model"],
        backfill_policy=ONE_RUN,
        group_name="registry",
        kinds={"html", "mlflow"},
        description="One HTML page on the registered version: data, stages with loss curves, evaluation, latency, "
        "five samples to listen to, and the gate's decision; attached to the version in MLflow.",
    )
    def version_report(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        outputs = Outputs(workspace.training_dir)
        registered = outputs.present("registered_model")
        number = str(registered.result()["version"])
        page = page_path(Path(workspace.home), number)
        version = version_numbered(connect(workspace.tracking_store), number)
        inputs = report_inputs(registered, version)
        forget_unless_current(outputs, inputs, page, version)
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            inputs,
            command_of(workspace, "version_report"),
            lambda directory: report_job(workspace, number, registered.path, directory),
        )
        return dg.MaterializeResult(metadata={**metadata, "page": dg.MetadataValue.path(page)})

    return version_report


def report_job(
    workspace: Workspace, number: str, registration: Path | None, output_dir: Path
) -> VersionReportJob:
    """What the program is told, for the version of this number.

    Args:
        registration: output of ``registered_model`` that made it; ``None``: it is not of this home.
    """
    return VersionReportJob(
        version=number,
        home=Path(workspace.home),
        lake=workspace.lake_root,
        registration_dir=registration,
        lake_data_digest=_data_digest(workspace),
        output_dir=output_dir,
        tracking=workspace.tracking_store,
    )


def report_inputs(registered: Output, version: "ModelVersion | None") -> str:
    """Digest of what the page is made from: what was registered, and what the registry says of the version now.

    Raises:
        assets.outputs.MissingOutputError: if the registration was removed.
    """
    said = None
    if version is not None:
        tags = {name: text for name, text in version.tags.items() if name != REPORT_TAG}
        said = {"aliases": sorted(version.aliases), "tags": tags}
    return inputs_digest(RECIPE, registered=registered.inputs, result=registered.result(), registry=said)


def forget_unless_current(outputs: Outputs, inputs: str, page: Path, version: "ModelVersion | None") -> None:
    """Have a page made anew that was removed, that MLflow has lost, or in whose place another one was written since."""
    present = outputs.find(_ASSET)
    is_there = page.is_file() and version is not None and is_attached(version)
    if not is_there or present is None or present.inputs != inputs:
        (outputs.directory(_ASSET, inputs) / RESULT_FILE).unlink(missing_ok=True)


def _data_digest(workspace: Workspace) -> str | None:
    if workspace.corpora_file is None:
        return None
    try:
        return rows_digest(workspace.lake, workspace.corpus_names, "train")
    except MissingTableError:
        return None
