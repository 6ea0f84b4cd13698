"""Which pages of versions a home has, and of which evaluation each has texts and recordings: so that they can go."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from validation.atomic import write_text

ARTIFACT = "version_report.html"  # in the MLflow run of the version
PAGES_DIR = "version_reports"  # below the home


@dataclass(frozen=True)
class PageRecord:
    """One page.

    Attributes:
        run_id: of MLflow, which keeps a copy; ``None``: there is none.
        profile, evaluation: name of the profile and of the directory of the evaluation below it, of which the page has
            samples; ``None``: it has none.
    """

    version: str
    run_id: str | None
    profile: str | None
    evaluation: str | None


def page_path(home: Path, version: str) -> Path:
    """Where the page of a version lies."""
    return home / PAGES_DIR / f"version_{version}.html"


def write_record(home: Path, record: PageRecord) -> None:
    """Say what the page holds; before it is there, so that no page is without a record."""
    write_text(_path(home, record.version), json.dumps(asdict(record), indent=1))


def records_of(home: Path, evaluations: Collection[Path]) -> list[PageRecord]:
    """Pages with samples of these evaluations, given by their output directories."""
    named = {(path.parents[1].name, path.name) for path in evaluations}
    found = [
        PageRecord(**json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((home / PAGES_DIR).glob("version_*.json"))
    ]
    return [one for one in found if (one.profile, one.evaluation) in named]


def remove_page(home: Path, record: PageRecord) -> Path:
    """Remove a page, and its record after it; gives where it was."""
    page = page_path(home, record.version)
    page.unlink(missing_ok=True)
    _path(home, record.version).unlink(missing_ok=True)
    return page


def _path(home: Path, version: str) -> Path:
    return page_path(home, version).with_suffix(".json")
