"""Candidate against champion: both answer today's held-out rows, and both are timed in turns in this one process.

A champion that can be run no more serves nobody either, so it does not stand in the way for ever: what was noted of it
counts as long as it was taken on the same rows (for speed: on the same hardware), and else the candidate's own checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from training_jobs.champion import Champion, ready_champion
from training_jobs.comparison import Comparison, comparisons_markdown
from training_jobs.decoding_settings import FULL_HEAD
from training_jobs.duel_scores import (
    comparisons_with_record,
    score_comparisons,
    side_by_side,
    unasked,
    without,
)
from training_jobs.evaluate import ROWS_FILE
from training_jobs.evaluation_answers import answers_of
from training_jobs.evaluation_rows import EvaluationRow, HeldOut, held_out_rows
from training_jobs.evaluation_tables import row_table
from training_jobs.gate import Figures, GateDecision, GateThresholds, judge
from training_jobs.heard_audio import MissingViewError
from training_jobs.heard_rows import rows_heard_by
from training_jobs.jobs import RegisterJob
from training_jobs.registered import decoding_of
from training_jobs.reporting import Reporter
from training_jobs.seen_rows import seen_rows, stage_output_of
from training_jobs.version_weights import LostVersionError
from validation.lake import Lake
from validation.local_files import spill_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from training_jobs.decoding_settings import DecodingSettings
    from training_jobs.spec import Mode

JUDGED_MODES: tuple[Mode, ...] = ("vanilla", "boost")
TIMED_MODE: Mode = "boost"  # in which the model is served


@dataclass
class Duel:
    """What came of it.

    Attributes:
        champion: its version.
        is_run: whether both models were run; else the champion's figures are those on record.
        skipped: what could not be compared, and why.
        notes: on what it was compared.
    """

    champion: str
    is_run: bool = True
    comparisons: list[Comparison] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def judge(self, decision: GateDecision) -> None:
        """Add all of it to the gate's decision."""
        judge(decision, self.comparisons)
        if self.is_run and not any(one.kind == "rate" for one in self.comparisons):
            decision.check(False, "no held-out row is left on which candidate and champion can be compared")
        decision.skipped += self.skipped
        decision.notes += self.notes

    def record(self) -> dict[str, dict[str, Any]]:
        """Per figure, for ``result.json``."""
        return {one.name: one.record() for one in self.comparisons}

    def markdown(self) -> str:
        """A table, and what it was taken on."""
        lines = [*self.skipped, *self.notes]
        table = comparisons_markdown(self.comparisons) if self.comparisons else "No figure could be compared."
        return f"Against version {self.champion}.\n\n{table}\n\n" + "\n".join(f"- {line}" for line in lines)


def run_duel(
    job: RegisterJob,
    client: MlflowClient,
    version: ModelVersion,
    evaluation: Mapping[str, Any],
    thresholds: GateThresholds,
    report: Reporter,
) -> Duel:
    """Run candidate and champion side by side.

    Args:
        version: the champion, another one than the candidate.
        evaluation: the candidate's, by ``result.json``; its answers are taken from there if the rows are the same.

    Raises:
        LostVersionError: if the champion can be run no more.
        training_jobs.evaluation_rows.EvaluationError: if nothing is held out, or audio tokens are missing.
        training_jobs.lake_audio.StoredAudioError: if a recording that the champion is to hear is not there.
    """
    with spill_folder() as scratch:
        champion = ready_champion(client, version, scratch, job.ratio)
        report.log(f"against version {version.version}, the present champion")
        rows = _held_out(job)
        theirs = _heard_by(champion, job, rows.rows)
        duel = Duel(champion.version)
        if champion.decoding != job.decoding:
            duel.notes.append(
                f"each decodes as it is served: the candidate with {job.decoding.words()}, the champion with "
                f"{champion.decoding.words()}"
            )
        from training_jobs.duel_race import race

        speeds, notes = race(job, champion, (rows.rows, theirs), TIMED_MODE, thresholds)
        for line in notes:
            report.log(line)
        candidate_table = _own_answers(job, evaluation, rows.digest)
        if candidate_table is None:
            duel.notes.append(
                "the held-out rows are others than in the candidate's evaluation: it was asked again"
            )
            candidate_table = _answers(job.model_dir, job.ratio, rows.rows, job, job.decoding, report)
        champion_table = _answers(champion.checkpoint, champion.ratio, theirs, job, champion.decoding, report)
        duel.notes += notes + _unasked(candidate_table, champion_table)
        pairs = side_by_side(candidate_table, champion_table)
        pairs = without(pairs, _seen(job, champion, duel))
        duel.comparisons = [*score_comparisons(pairs, thresholds, job.seed), *speeds]
        return duel


def against_record(
    job: RegisterJob,
    version: ModelVersion,
    why: str,
    evaluation: Mapping[str, Any],
    candidate: Figures,
    noted: tuple[Figures, Mapping[str, float]] | None,
    thresholds: GateThresholds,
) -> Duel:
    """What can be said beside a champion that can be run no more.

    Args:
        why: it cannot.
        candidate: figures of its own evaluation and benchmark.
        noted: figures and metrics of the champion, from its registration; ``None``: there are none.
    """
    duel = Duel(str(version.version), is_run=False)
    duel.notes.append(
        f"the champion, version {version.version}, can be run no more, here or by whoever loads it: {why}"
    )
    if noted is None:
        duel.skipped.append("nothing: no figures of the champion are on record")
        return duel
    figures, metrics = noted
    table = _own_answers(job, evaluation, figures.held_out)
    if table is None:
        duel.skipped.append("scores: those on record of the champion were taken on other held-out rows")
    else:
        duel.comparisons += comparisons_with_record(table, metrics, thresholds, job.seed)
    if figures.hardware != candidate.hardware:
        duel.skipped.append(
            f"latency: the champion's on record was measured on other hardware ({figures.hardware[:12]}) than the "
            f"candidate's ({candidate.hardware[:12]})"
        )
    elif (theirs := decoding_of(version)) != job.decoding:
        duel.skipped.append(
            f"latency: the champion's on record was measured with {theirs.words()}, the candidate's with "
            f"{job.decoding.words()}"
        )
    else:
        duel.comparisons += _recorded_speeds(candidate, figures, thresholds)
    return duel


def _held_out(job: RegisterJob) -> HeldOut:
    from models import load_audio_tokenizer

    return held_out_rows(
        Lake(job.lake),
        job.corpora,
        load_audio_tokenizer(job.tokenizer_dir).digest,
        job.evaluation.max_rows_per_slice,
        job.seed,
        dict.fromkeys(job.standard_sets, job.evaluation.max_rows_per_standard_set),
    )


def _heard_by(champion: Champion, job: RegisterJob, rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    from models import load_audio_tokenizer

    if champion.tokenizer.digest == load_audio_tokenizer(job.tokenizer_dir).digest:
        return list(rows)
    try:
        return rows_heard_by(champion.tokenizer, Lake(job.lake), job.corpora, rows)
    except MissingViewError as error:
        raise LostVersionError(f"it cannot hear the corpora of today: {error}") from error


def _own_answers(job: RegisterJob, evaluation: Mapping[str, Any], held_out: str) -> pl.DataFrame | None:
    """The candidate's row table from its evaluation; ``None``: it was on other rows, decoded otherwise, or is gone."""
    path = job.evaluation_dir / ROWS_FILE
    decoding = evaluation.get("decoding", FULL_HEAD.model_dump())
    is_same = evaluation["held_out_digest"] == held_out and decoding == job.decoding.model_dump()
    if not is_same or not path.is_file():
        return None
    return pl.read_parquet(path).filter(pl.col("mode").is_in(JUDGED_MODES))


def _answers(
    model_dir: Path,
    ratio: Sequence[int],
    rows: Sequence[EvaluationRow],
    job: RegisterJob,
    decoding: DecodingSettings,
    report: Reporter,
) -> pl.DataFrame:
    limit = job.evaluation.max_new_tokens
    answers, _ = answers_of(model_dir, ratio, rows, JUDGED_MODES, limit, decoding, report)
    return row_table(rows, answers)


def _unasked(candidate: pl.DataFrame, champion: pl.DataFrame) -> list[str]:
    return [
        f"{count} rows are too long for the {name}: they count as its failures"
        for name, count in unasked(candidate, champion).items()
        if count
    ]


def _seen(job: RegisterJob, champion: Champion, duel: Duel) -> set[tuple[str, str]]:
    """Held-out rows that either was trained on; what is not on record is noted."""
    lake = Lake(job.lake)
    stage_outputs = {
        "candidate": job.model_dir.parent,
        "champion": stage_output_of(job.output_dir.parent, champion.version) or champion.checkpoint.parent,
    }
    found: set[tuple[str, str]] = set()
    for name, stage_output in stage_outputs.items():
        rows = seen_rows(stage_output, lake, job.corpora)
        if rows is None:
            duel.notes.append(f"which rows the {name} was trained on is not on record here")
        elif rows:
            duel.notes.append(
                f"{len(rows)} held-out rows of today were in the {name}'s training: left out of the comparison"
            )
            found |= rows
    return found


def _recorded_speeds(candidate: Figures, champion: Figures, thresholds: GateThresholds) -> list[Comparison]:
    measured = (
        (
            f"{TIMED_MODE}/first_chunk_ms_p50",
            candidate.first_chunk_ms,
            champion.first_chunk_ms,
            thresholds.max_first_chunk_increase,
        ),
        (
            f"{TIMED_MODE}/tokens_per_second_p50",
            candidate.tokens_per_second[TIMED_MODE],
            champion.tokens_per_second[TIMED_MODE],
            -thresholds.max_throughput_decrease,
        ),
    )
    return [
        Comparison(
            name=name,
            kind="time" if limit > 0 else "speed",
            candidate=new,
            champion=old,
            difference=new / old - 1,
            low=new / old - 1,
            high=new / old - 1,
            limit=limit,
            more_is_worse=name.endswith("_ms_p50"),
            basis="medians on record, not taken side by side",
        )
        for name, new, old, limit in measured
    ]
