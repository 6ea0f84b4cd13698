"""``voxline report VERSION``: the page of one registered version, made anew, or left as it is while a run works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assets.turns import free_turn
from assets.version_report import report_job
from assets.workspace import Workspace
from training_jobs.promotion import find_version, open_registry
from training_jobs.registered import DIGEST_TAG
from training_jobs.reporting import Reporter
from training_jobs.version_facts import registration_of
from training_jobs.version_records import page_path
from training_jobs.version_report import make_report
from validation.errors import UserError


@dataclass(frozen=True)
class VersionPage:
    """Where the page lies, and what is to be said of it."""

    version: str
    place: Path
    words: str


def write_version_page(workspace: Workspace, what: str) -> VersionPage:
    """Make the page of a version, whoever has registered it, and attach it in MLflow.

    Args:
        what: the version's number, or an alias.

    Raises:
        training_jobs.promotion.PromotionError: if there is no registry, or no such version in it.
        UserError: if a run works in the home and there is no page yet.
    """
    home = Path(workspace.home)
    version = find_version(open_registry(workspace.tracking_uri), what)
    number = str(version.version)
    page = page_path(home, number)
    with free_turn(home, "voxline report") as is_quiet:
        if not is_quiet:
            if not page.is_file():
                raise UserError(
                    f"version {number} has no page yet, and a run is at work in {home}: try again when it ends"
                )
            return VersionPage(number, page, "left as it is: a run is at work in this home")
        registration = registration_of(home / "training", number, version.tags.get(DIGEST_TAG))
        # Beside the page: the outputs of the asset are those of one profile, and this version may be of another.
        job = report_job(workspace, number, registration, page.parent / f"version_{number}")
        result = make_report(job, Reporter(lambda line: None))
    words = f"made; {result['bytes']:,} bytes; {result['attached']}"
    if result["missing"]:
        words += f"; missing: {', '.join(result['missing'])}"
    return VersionPage(number, page, words)
