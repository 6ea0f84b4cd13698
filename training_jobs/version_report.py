"""Writes the page of a registered version, and attaches it to the version: ``python -m training_jobs.version_report``.

The page lies in the home, and as the artifact ``version_report.html`` in the MLflow run of the version, to which the
version's tag ``report`` and the first line of its description lead. Made again, it takes the place of the last one.

Leaves beside the page its record (:mod:`training_jobs.version_records`: what ``voxline forget`` must know), and in the
output directory ``result.json`` with ``version``, ``page``, ``bytes``, ``report_markdown``, ``attached`` (URI of the
artifact, or why there is none) and ``missing`` (the parts that the page lacks).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_jobs.jobs import VersionReportJob, write_result
from training_jobs.lineage import json_file
from training_jobs.program import program_main
from training_jobs.registered import registry_turn, set_tags
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.version_facts import VersionFacts, gather
from training_jobs.version_page import MOST_BYTES, version_page
from training_jobs.version_records import ARTIFACT, PageRecord, page_path, write_record
from validation.atomic import replacing
from validation.local_files import spill_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REPORT_TAG = "report"
_LINE = "Report: ["


def make_report(job: VersionReportJob, report: Reporter) -> dict[str, Any]:
    """Write and attach the page; see the module's docstring for what is written.

    Raises:
        mlflow.exceptions.MlflowException: if the registry has no such version, or cannot be written.
    """
    client = connect(job.tracking)
    version = client.get_model_version(REGISTERED_MODEL, job.version)
    facts = gather(job, client, version)
    html = version_page(facts)
    if len(html) > MOST_BYTES:
        report.log(f"warning: the page has {len(html):,} bytes, more than {MOST_BYTES:,}")
    page = page_path(job.home, job.version)
    # Before the page itself: what has a text is known to have it.
    write_record(job.home, _record(job, facts))
    with replacing(page) as temporary:
        temporary.write_bytes(html)
    attached, missing = _attach(client, job, version, html), missing_parts(facts)
    result = {
        "version": job.version,
        "page": str(page),
        "bytes": len(html),
        "attached": attached,
        "missing": missing,
        "report_markdown": f"**{REGISTERED_MODEL} version {job.version}**: `{page}`, {attached}",
    }
    report.log(f"{page}: {len(html):,} bytes" + (f"; missing: {', '.join(missing)}" if missing else ""))
    write_result(job.output_dir, result)
    return result


def missing_parts(facts: VersionFacts) -> list[str]:
    """Parts that the page says are missing."""
    parts = {
        "training data": bool(facts.data.shares),
        "stages": bool(facts.stages),
        "evaluation": facts.evaluation is not None,
        "latency": facts.latency is not None,
        "samples": bool(facts.samples.chosen),
        "gate": "gate" in facts.tags,
    }
    return [name for name, is_there in parts.items() if not is_there]


def is_attached(version: ModelVersion) -> bool:
    """Whether a version says that it has a page."""
    return REPORT_TAG in version.tags


def _record(job: VersionReportJob, facts: VersionFacts) -> PageRecord:
    evaluation = None
    if job.registration_dir is not None:
        evaluation = Path(json_file(job.registration_dir / "job.json")["evaluation_dir"]).name
    return PageRecord(job.version, facts.run_id, facts.profile, evaluation)


def _attach(client: MlflowClient, job: VersionReportJob, version: ModelVersion, html: bytes) -> str:
    """URI of the artifact, or why there is none."""
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return "not attached: the version has no run in MLflow"
    try:
        run = client.get_run(version.run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return f"not attached: MLflow has the version's run {version.run_id} no more"
    with spill_folder() as scratch:
        copy = scratch / ARTIFACT
        copy.write_bytes(html)
        client.log_artifact(version.run_id, str(copy))
    uri = f"runs:/{version.run_id}/{ARTIFACT}"
    address = f"#/experiments/{run.info.experiment_id}/runs/{version.run_id}/artifacts/{ARTIFACT}"
    line = f"{_LINE}{ARTIFACT}]({address})"
    with registry_turn(job.tracking.uri):
        set_tags(client, version, {REPORT_TAG: uri})
        stored = client.get_model_version(REGISTERED_MODEL, version.version).description or ""
        first, _, rest = stored.partition("\n\n")
        text = f"{line}\n\n{rest if first.startswith(_LINE) else stored}".rstrip()
        if text != stored:
            client.update_model_version(REGISTERED_MODEL, version.version, description=text)
    return uri


def _run(job: VersionReportJob, report: Reporter) -> None:
    make_report(job, report)


if __name__ == "__main__":
    program_main(VersionReportJob, _run)
