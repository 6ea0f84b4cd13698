"""The data steps from a corpora file to reports, as a program: ``data_steps.py CORPORA LAKE WORKERS``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assets.audio.fingerprints import make_fingerprints
from assets.audio.quality import measure_corpus
from assets.audio.resample import make_audio_22k
from assets.corpora.acceptance import accept
from assets.corpora.config import CorpusEntry, load_corpora
from assets.corpora.ingest import ingest
from assets.corpora.training_jsonl import build_jsonl
from assets.report.build import report_corpus, write_index
from validation.lake import Lake
from validation.leakage import check_leakage, verdict
from validation.leakage_duplicates import find_duplicates
from validation.leakage_rules import Evaluation
from validation.ledger import balance
from validation.ledger_history import RunOfLedger, record_ledger


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        since: Number of the step with which the next run begins, if this one is ended within.
    """

    name: str
    do: Callable[[], object]
    since: int = 0


def steps(corpora: Path, lake: Lake, workers: int, since: int = 0) -> list[Step]:
    """All steps, in the order of the graph; one fails where a corpus' ledger does not balance."""
    file = load_corpora(corpora)
    names = [entry.name for entry in file.corpora]
    made: list[tuple[str, Callable[[], object]]] = []
    for entry in file.corpora:
        made += [
            (f"{entry.name}: raw_utterances", partial(ingest, entry, lake)),
            (f"{entry.name}: audio_22k", partial(make_audio_22k, entry, lake, workers=workers)),
            (f"{entry.name}: audio_quality", partial(measure_corpus, entry, lake, workers=workers)),
            (f"{entry.name}: accepted_utterances", partial(_accept, entry, lake)),
            (f"{entry.name}: audio_fingerprints", partial(make_fingerprints, entry, lake)),
        ]
    made.append(("duplicates", partial(find_duplicates, lake, names)))
    made.append(("leakage", lambda: _check_leakage(lake, file.evaluation, names)))
    for entry in file.corpora:
        made.append((f"{entry.name}: training_jsonl", partial(build_jsonl, entry, lake)))
        made.append((f"{entry.name}: corpus_report", partial(report_corpus, entry, lake)))
    made.append(("index", partial(write_index, lake, file.corpora)))
    return [Step(name, do, since) for name, do in made]


def run(corpora: Path, lake: Lake, workers: int) -> None:
    """All steps."""
    for step in steps(corpora, lake, workers):
        step.do()


def _accept(entry: CorpusEntry, lake: Lake) -> None:
    outcome = accept(entry, lake)
    record_ledger(lake, entry.name, RunOfLedger.now(outcome.inputs, "commit", None))
    found = balance(lake, entry.name)
    assert found.holds, found


def _check_leakage(lake: Lake, evaluation: Evaluation, names: list[str]) -> None:
    check_leakage(lake, evaluation, names, {name: [] for name in names})
    verdict(lake)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Lake(sys.argv[2]), int(sys.argv[3]))
