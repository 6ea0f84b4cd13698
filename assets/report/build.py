"""The step ``corpus_report``: a corpus' profile, its drift, its page in the lake, and its figures for Dagster.

Files of the lake: ``reports/<corpus>.html``, ``reports/index.html``, ``profiles/<corpus>/`` and
``drawings/corpus_report/<corpus>.json``. All are made from the tables, and made again when those change; only the
profiles of earlier states are not brought back by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from assets.audio.plots import Group, code_cell, histograms_markdown, reasons_table
from assets.corpora.config import CorpusEntry
from assets.report.drift_view import DriftView, drift_view
from assets.report.facts import Count, Facts, corpus_database, ledger_paths, read_facts
from assets.report.margins import best_rejected, worst_accepted
from assets.report.page import OTHER_PART, corpus_page, index_line, index_page
from assets.report.profiles import (
    ACCEPTED_PART,
    Comparison,
    append_record,
    compare,
    make_profile,
    read_records,
)
from assets.report.recordings import hear
from assets.report.render import hours_text, percent_text
from assets.report.texts import read_texts
from validation.digests import digest_stream, digest_value
from validation.histograms import Cells, count_cells
from validation.lake import Lake
from validation.scales import SCALES
from validation.schemas import TableName
from validation.steps import StepOutcome, run_step, table_digest

STEP = "corpus_report"
INDEX = "reports/index.html"
_PROFILE_RECIPE = 1  # raised when the same tables give another profile
_PAGE_RECIPE = 2  # raised when the same figures are shown otherwise
_TABLES: tuple[TableName, ...] = ("raw_utterances", "audio_22k", "audio_quality", "accepted_utterances")


@dataclass(frozen=True, slots=True)
class Report:
    """What the step left.

    Attributes:
        comparison: The corpus' last state against the one before it that was taken for good.
    """

    outcome: StepOutcome
    comparison: Comparison


def report_path(corpus: str) -> str:
    """The corpus' page, relative to the lake's root."""
    return f"reports/{corpus}.html"


def report_corpus(entry: CorpusEntry, lake: Lake) -> Report:
    """Write the corpus' page, unless it is there and nothing that it shows has changed.

    A state of the tables that was not seen before is added to the corpus' profiles.

    Raises:
        validation.lake.MissingTableError: if a step of the corpus has not been done.
    """
    with lake.turn(f"profiles--{entry.name}"):
        return _report_corpus(entry, lake)


def _report_corpus(entry: CorpusEntry, lake: Lake) -> Report:
    corpus = entry.name
    tables = _tables_digest(lake, corpus)
    asked = _Asked(entry, lake)
    records = read_records(lake, corpus)
    if not records or records[-1].inputs != tables:
        profile = make_profile(asked.facts, asked.cells)
        records = [*records, append_record(lake, corpus, tables, profile, records, entry.drift)]
    comparison = compare(records, entry.drift)
    assert comparison is not None
    drift = drift_view(comparison, records, entry.drift)
    states = [
        record.model_dump(mode="json", exclude={"at", "accepted"}) | {"accepted": record.accepted is not None}
        for record in records
    ]
    inputs = digest_value(
        {
            "recipe": _PAGE_RECIPE,
            "tables": tables,
            "about": _about(entry),
            "thresholds": entry.limits.model_dump(mode="json"),
            "drift": entry.drift.model_dump(mode="json"),
            "states": states,
        }
    )
    outputs = [report_path(corpus), _drawings_path(corpus)]
    outcome = run_step(lake, STEP, corpus, inputs, outputs, lambda: _write(asked, drift))
    return Report(outcome, comparison)


def write_index(lake: Lake, entries: Sequence[CorpusEntry]) -> bool:
    """Write the page of those corpora that have a profile; says whether it changed."""
    lines = []
    for entry in entries:
        comparison = last_comparison(lake, entry)
        if comparison is not None:
            lines.append(
                index_line(
                    entry.name, comparison, drift_view(comparison, [comparison.now], entry.drift).short
                )
            )
    html = index_page(lines)
    if lake.exists(INDEX):
        with lake.open(INDEX) as stream:
            if stream.read() == html:
                return False
    with lake.atomic_write(INDEX) as stream:
        stream.write(html)
    return True


def last_comparison(lake: Lake, entry: CorpusEntry) -> Comparison | None:
    """How the corpus stands, as it was reported last; ``None`` where it never was."""
    return compare(read_records(lake, entry.name), entry.drift)


def read_drawings(lake: Lake, corpus: str) -> dict[str, str]:
    """The corpus' figures as Markdown, by name."""
    drawings = lake.read_json(_drawings_path(corpus))
    assert isinstance(drawings, dict)
    return drawings


class _Asked:
    """Figures of a corpus, asked of the tables once, when they are wanted."""

    def __init__(self, entry: CorpusEntry, lake: Lake) -> None:
        self.entry = entry
        self.lake = lake

    @cached_property
    def facts(self) -> Facts:
        with corpus_database(self.lake, self.entry.name) as connection:
            return read_facts(connection)

    @cached_property
    def cells(self) -> Cells:
        # Rows of quality have an end of their own: those that ended earlier were not measured.
        parts = f"""SELECT q.*, CASE e.outcome WHEN 'accepted' THEN '{ACCEPTED_PART}' ELSE '{OTHER_PART}' END AS part
            FROM quality q JOIN
            (SELECT utterance_id, outcome FROM ended WHERE stage <> 'raw_utterances') e USING (utterance_id)"""  # noqa: S608 - our own names
        with corpus_database(self.lake, self.entry.name) as connection:
            return count_cells(connection, parts)


def _write(asked: _Asked, drift: DriftView) -> dict[str, Any]:
    entry, lake, facts, cells = asked.entry, asked.lake, asked.facts, asked.cells
    limits = entry.limits
    medians = {scale.column: cells.distribution(scale, [ACCEPTED_PART]).median for scale in SCALES}
    with corpus_database(lake, entry.name) as connection:
        texts = read_texts(connection)
        worst = hear(connection, lake, worst_accepted(connection, limits, medians))
        best = hear(connection, lake, best_rejected(connection, limits, medians))
    page = corpus_page(_about(entry), facts, texts, cells, limits, drift, worst, best)
    html = page.html()
    with lake.atomic_write(report_path(entry.name)) as stream:
        stream.write(html)
    groups = (Group("accepted", ACCEPTED_PART), Group("not accepted", OTHER_PART))
    drawings = {
        "histograms": histograms_markdown(cells, entry.name, groups, limits),
        "reasons": reasons_table(lake, [entry.name]),
        "before_after": _table(("split", "read", "accepted", "decoded", "accepted hours"), facts.splits),
        "languages": _table(("language", "read", "accepted", "decoded", "accepted hours"), facts.languages),
        "drift": _drift_table(drift),
    }
    lake.write_json(_drawings_path(entry.name), drawings)
    return {
        "rows": facts.total.accepted,
        "read": facts.total.read,
        "accepted_hours": round(facts.total.accepted_hours, 4),
        "decoded_hours": round(facts.total.hours, 4),
        "bytes": len(html),
        "players": sum(hasattr(one.sound, "mp3") for one in (*worst, *best)),
        "drift": drift.short,
    }


def _about(entry: CorpusEntry) -> dict[str, str]:
    return {
        "name": entry.name,
        "reader": entry.reader,
        "language": entry.language,
        "licence": entry.licence,
    }


def _tables_digest(lake: Lake, corpus: str) -> str:
    digests: dict[str, Any] = {name: table_digest(lake, name, corpus) for name in _TABLES}
    ledger = []
    for path in ledger_paths(lake, corpus):
        with lake.open(path) as stream:
            ledger.append([path, digest_stream(stream)])
    return digest_value({"recipe": _PROFILE_RECIPE, "tables": digests, "ledger": ledger})


def _drawings_path(corpus: str) -> str:
    return f"drawings/{STEP}/{corpus}.json"


def _table(head: Sequence[str], counts: Sequence[Count]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|--:|--:|--:|--:|"]
    for one in counts:
        share = percent_text(one.accepted, one.read)
        lines.append(
            f"| {code_cell(one.name or 'none')} | {one.read:,} | {one.accepted:,} ({share}) "
            f"| {hours_text(one.hours)} | {hours_text(one.accepted_hours)} |"
        )
    return "\n".join(lines)


def _drift_table(drift: DriftView) -> str:
    lines = [drift.headline, ""]
    if drift.rows:
        lines += ["| figure | before | now | change | limit | |", "|---|--:|--:|--:|--:|---|"]
        lines += [
            f"| {code_cell(row.figure)} | {row.before} | {row.now} | {row.change} | {row.limit} "
            f"| {'**beyond**' if row.is_beyond else ''} |"
            for row in drift.rows
        ]
    return "\n".join(lines)
