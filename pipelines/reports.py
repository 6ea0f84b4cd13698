"""``voxline report``: where the pages of a home's corpora lie, made again where their tables changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assets.corpora import CorpusEntry
from assets.report.build import INDEX, last_comparison, report_corpus, report_path, write_index
from assets.report.profiles import accept_last
from assets.turns import free_turn
from assets.workspace import Workspace
from validation.lake import MissingTableError


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One corpus' page.

    Attributes:
        place: Path or URL; ``None`` where there is no page.
        words: What happened, and how the corpus stands against the state before.
    """

    corpus: str
    place: str | None
    words: str
    has_drifted: bool


def write_reports(workspace: Workspace, corpora: Sequence[str]) -> list[ReportLine]:
    """Make the pages of these corpora, as far as they are not up to date, and the page of all of them.

    While a run works in the home its tables may belong to two states: then pages are left as they are.
    """
    lake, entries = workspace.lake, [workspace.corpus(name) for name in corpora]
    with free_turn(Path(workspace.home), "voxline report") as is_quiet:
        if not is_quiet:
            return [_left_alone(workspace, entry) for entry in entries]
        lines = [_made(workspace, entry) for entry in entries]
        write_index(lake, workspace.corpora.corpora)
    return lines


def accept_drift(workspace: Workspace, corpus: str) -> str:
    """Take the last state of a corpus for good; says which.

    Raises:
        UserError: if the corpus has no state yet.
    """
    entry = workspace.corpus(corpus)
    record = accept_last(workspace.lake, entry.name)
    assert record.accepted is not None
    by, at = record.accepted.by, record.accepted.at
    return f"{corpus}: state {record.number} is accepted (by {by}, {at}); later states are compared with it"


def index_place(workspace: Workspace) -> str:
    """Path or URL of the page of all corpora."""
    return workspace.lake.uri(INDEX)


def _made(workspace: Workspace, entry: CorpusEntry) -> ReportLine:
    lake = workspace.lake
    try:
        report = report_corpus(entry, lake)
    except MissingTableError as error:
        return ReportLine(entry.name, None, f"not prepared yet: {error}", has_drifted=False)
    made = "made" if report.outcome.recomputed else "up to date"
    words = f"{made}; {report.outcome.summary['drift']}"
    return ReportLine(entry.name, lake.uri(report_path(entry.name)), words, not report.comparison.passed)


def _left_alone(workspace: Workspace, entry: CorpusEntry) -> ReportLine:
    lake, path = workspace.lake, report_path(entry.name)
    found = last_comparison(lake, entry)
    words = "left as it is: a run is at work in this home"
    place = lake.uri(path) if lake.exists(path) else None
    return ReportLine(entry.name, place, words, found is not None and not found.passed)
