"""What a checkpoint was trained on, read from what its stages left: for the model card.

A stage's ``job.json`` names its packs and the model that it started from; a pack's ``samples.parquet`` names its rows
and their licences. Hours are those that the lake's training rows have now.
"""

# ruff: noqa: S608 - statements are made of our own names and quoted paths
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_jobs.jobs import read_result
from training_jobs.lineage import forgotten_of
from training_jobs.plan import SAMPLES_FILE
from validation.batches import database, files_of, quoted_path
from validation.lake import Lake


@dataclass(frozen=True)
class TrainedStage:
    """One stage on the way to a checkpoint, from its own output directory."""

    name: str
    directory: Path
    job: dict[str, Any]
    result: dict[str, Any]

    @property
    def packs_dir(self) -> Path | None:
        """The pack that it was trained on; none for a base model."""
        return Path(self.job["packs_dir"]) if "packs_dir" in self.job else None


@dataclass(frozen=True)
class CorpusShare:
    """What of a corpus a checkpoint has seen.

    Attributes:
        licences: of its rows.
        rows: training rows, each counted once, whatever variants of it there were.
        samples: as often as they, or variants of them, were packed.
        tokens: in those.
        hours: of the rows' audio; those that the lake has no more are counted in ``unknown_rows``.
    """

    corpus: str
    licences: tuple[str, ...]
    rows: int
    samples: int
    tokens: int
    hours: float
    unknown_rows: int


def stages_of(directory: Path) -> list[TrainedStage]:
    """The output ``directory`` and those that it started from, the first one first."""
    stages: list[TrainedStage] = []
    place: Path | None = directory
    while place is not None and (place / "job.json").is_file():
        job = json.loads((place / "job.json").read_text(encoding="utf-8"))
        stages.insert(0, TrainedStage(place.parent.name, place, job, read_result(place) or {}))
        place = beside(directory, Path(job["start_dir"]).parent) if "start_dir" in job else None
    return stages


def packs_of(stages: Sequence[TrainedStage]) -> list[Path]:
    """The packs of these stages, each once."""
    named = [stage.packs_dir for stage in stages if stage.packs_dir is not None]
    return sorted({beside(stages[0].directory, path) for path in named})


def shares(packs: Sequence[Path], lake: Lake, corpora: Sequence[str]) -> list[CorpusShare]:
    """Rows, samples, tokens and hours per corpus in these packs, by the corpus' name."""
    samples = [quoted_path(str(pack / SAMPLES_FILE)) for pack in packs if (pack / SAMPLES_FILE).is_file()]
    if not samples:
        return []
    present = [corpus for corpus in corpora if lake.has_table("training_rows", corpus)]
    with database(lake) as connection:
        known = "SELECT '' AS corpus, '' AS row_id, 0.0 AS seconds WHERE false"
        if present:
            known = f"SELECT corpus, row_id, seconds FROM {files_of(lake, 'training_rows', present)}"
        packed = f"read_parquet([{', '.join(samples)}])"
        found = connection.execute(
            f"""WITH once AS (
                SELECT corpus, regexp_replace(row_id, '~[0-9]+$', '') AS row_id, count(*) AS samples,
                    sum(tokens) AS tokens
                FROM {packed} GROUP BY ALL)
            SELECT corpus, count(*), sum(samples), sum(tokens), coalesce(sum(seconds), 0) / 3600,
                count(*) - count(seconds)
            FROM once LEFT JOIN ({known}) USING (corpus, row_id) GROUP BY corpus ORDER BY corpus"""
        ).fetchall()
        named = f"SELECT DISTINCT corpus, unnest(licences) AS licence FROM {packed} ORDER BY ALL"
        licences: dict[str, list[str]] = {}
        for corpus, licence in connection.execute(named).fetchall():
            licences.setdefault(str(corpus), []).append(str(licence))
    return [
        CorpusShare(
            corpus=str(corpus),
            licences=tuple(licences.get(str(corpus), ())),
            rows=int(rows),
            samples=int(drawn),
            tokens=int(tokens),
            hours=float(hours),
            unknown_rows=int(gone),
        )
        for corpus, rows, drawn, tokens, hours, gone in found
    ]


def forgotten_since(packs: Sequence[Path]) -> list[str]:
    """Requests to forget rows of these packs that came after the training."""
    return sorted({request for pack in packs for request in forgotten_of(pack)})


def beside(output: Path, named: Path) -> Path:
    """The directory that a job names as ``named`` (…/<asset>/<digest>), in the training directory of ``output``.

    Jobs name whole paths, and homes are moved and copied: of a copy, these still lead to the home that it was made of.
    """
    return output.parents[1] / named.parent.name / named.name
