"""The data steps from a corpora file to reports, as a program: ``data_steps.py CORPORA LAKE WORKERS``."""

from __future__ import annotations

import sys
from pathlib import Path

from assets.audio.fingerprints import make_fingerprints
from assets.audio.quality import measure_corpus
from assets.audio.resample import make_audio_22k
from assets.corpora.acceptance import accept
from assets.corpora.config import load_corpora
from assets.corpora.ingest import ingest
from assets.corpora.training_jsonl import build_jsonl
from assets.report.build import report_corpus, write_index
from validation.lake import Lake
from validation.leakage import check_leakage, verdict
from validation.leakage_duplicates import find_duplicates
from validation.ledger import balance
from validation.ledger_history import RunOfLedger, record_ledger


def run(corpora: Path, lake: Lake, workers: int) -> None:
    """All steps, in the order of the graph; ends with an error where a corpus' ledger does not balance."""
    file = load_corpora(corpora)
    names = [entry.name for entry in file.corpora]
    for entry in file.corpora:
        ingest(entry, lake)
        make_audio_22k(entry, lake, workers=workers)
        measure_corpus(entry, lake, workers=workers)
        outcome = accept(entry, lake)
        record_ledger(lake, entry.name, RunOfLedger.now(outcome.inputs, "commit", None))
        found = balance(lake, entry.name)
        assert found.holds, found
        make_fingerprints(entry, lake)
    find_duplicates(lake, names)
    check_leakage(lake, file.evaluation, names, {name: [] for name in names})
    verdict(lake)
    for entry in file.corpora:
        build_jsonl(entry, lake)
        report_corpus(entry, lake)
    write_index(lake, file.corpora)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Lake(sys.argv[2]), int(sys.argv[3]))
