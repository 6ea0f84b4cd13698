"""Scores a checkpoint on held-out rows, in Vanilla, Boost and other modes: ``python -m training_jobs.evaluate``.

Leaves in the job's output directory ``rows.parquet`` (each row and mode: reference, hypothesis, errors),
``scores.parquet`` (each slice = task x corpus x language x speaker group, and mode), ``slices.parquet`` (by language,
speaker group, speaker, duration and signal-to-noise ratio) and ``result.json`` with

- ``overall``: per mode ``asr_known_wer``, ``asr_known_cer``, ``asr_known_exact``, the same for ``asr_unseen`` and
  ``asr_unstated``, ``sqa_exact``, ``sqa_contains`` (the answer is said in the text), ``sqa_spoken_contains`` (in what
  the model reads back from its speech), ``tts_wer``, ``tts_exact``, and of the ASR model that listens
  ``sqa_heard_contains`` and ``tts_heard_wer``; ``tts_mos``. A figure without rows is absent. Also flat, as
  ``<mode>_<figure>``;
- ``intervals``: per mode and figure the ends of its 95 % bootstrap interval, and ``boost_minus_vanilla``: per figure
  the paired difference with its interval;
- ``slices``: those of ``slices.parquet`` (of the speakers the worst);
- ``decoding``: how the modes were decoded; ``constraint``: per task and mode of ``constraint_modes`` the figures with
  the full head and constrained to audio words, and the paired difference;
- ``modules``: per level (backbone and modules) and kind of label, text or audio: agreement with the backbone's own
  next token, accuracy, loss in nats; ``module_metrics``, the same flat; ``replies_too_long``, rows left out of it;
- ``listeners``: who heard the spoken replies;
- ``normalisers``: per language what texts went through and what errors are counted in;
- ``standard_sets``: per set of ``standard_sets.yaml`` its status (``skipped: …`` where no root is configured), and
  where it was read its rows at each step and its figures;
- ``reference_rules``: VITA-Audio's own way of the same answers, where that is asked for; else ``null``;
- ``rows``, ``held_out_digest`` (which rows, with which references), ``left_out`` (held-out rows not scored, by
  reason), ``cut_replies`` (replies that ran into ``max_new_tokens``), ``seconds``, ``run_id`` of MLflow, and
  ``scores_markdown``, ``schedules_markdown`` (each mode beside Vanilla), ``constraint_markdown``, ``modules_markdown``,
  ``slices_markdown``, ``standard_sets_markdown``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from training_jobs.constraint_quality import UNMEASURED, constraint_markdown, constraint_table
from training_jobs.evaluation_answers import answers_of
from training_jobs.evaluation_figures import differences, intervals, overall
from training_jobs.evaluation_listening import listen
from training_jobs.evaluation_rows import EvaluationRow, HeldOut, held_out_rows
from training_jobs.evaluation_slices import SLICES_FILE, shortened, slice_table, slices_markdown
from training_jobs.evaluation_tables import row_table, score_table, scores_markdown
from training_jobs.jobs import EvaluateJob, write_result
from training_jobs.listening_models import listening_of
from training_jobs.normalisation import normaliser_of
from training_jobs.program import program_main
from training_jobs.reference_rules import reference_rules
from training_jobs.reporting import Reporter
from training_jobs.schedule_quality import schedule_table, schedules_markdown
from training_jobs.standard_results import standard_markdown, standard_results
from training_jobs.tracking import TrackedRun, tracked_run
from validation.atomic import replacing
from validation.lake import Lake

if TYPE_CHECKING:
    from training_jobs.spec import Mode
    from validation.listening.config import ModelMeasures

ROWS_FILE = "rows.parquet"
SCORES_FILE = "scores.parquet"


def evaluate(job: EvaluateJob, report: Reporter) -> dict[str, Any]:
    """Score the checkpoint; see the module's docstring for what is written.

    Raises:
        training_jobs.evaluation_rows.EvaluationError: if nothing is held out, or audio tokens are missing.
        validation.errors.ConfigurationError: if a model that is to listen is not there.
    """
    from models import load_audio_tokenizer

    began = time.monotonic()
    settings = job.settings
    models = listening_of(settings)
    params = {
        **settings.model_dump(),
        **job.decoding.model_dump(),
        "seed": job.seed,
        "modes": ",".join(settings.modes),
        "constraint_modes": ",".join(settings.constraint_modes),
    }
    with tracked_run(job.tracking, "voxline/evaluation", "evaluation", params) as run:
        tokenizer_digest = load_audio_tokenizer(job.tokenizer_dir).digest
        held_out = held_out_rows(
            Lake(job.lake),
            job.corpora,
            tokenizer_digest,
            settings.max_rows_per_slice,
            job.seed,
            dict.fromkeys(job.standard_sets, settings.max_rows_per_standard_set),
        )
        slices = len({row.slice_key for row in held_out.rows})
        report.log(
            f"scoring {len(held_out.rows)} held-out rows in {slices} slices, in {', '.join(settings.modes)}, "
            f"{job.decoding.words()}"
        )
        answers, too_long = answers_of(
            job.model_dir,
            job.ratio,
            held_out.rows,
            settings.modes,
            settings.max_new_tokens,
            job.decoding,
            report,
        )
        left_out = held_out.left_out | ({"longer than the model's positions": too_long} if too_long else {})
        listened = listen(held_out.rows, answers, job.tokenizer_dir, models, report)
        tables = _Tables.of(row_table(held_out.rows, answers, listened), job.seed)
        tables.write(job.output_dir)
        result = _result(tables, held_out, left_out, settings.modes, job.seed)
        result["reference_rules"] = (
            reference_rules(held_out.rows, answers, listened) if settings.reference_rules else None
        )
        sets = standard_results(tables.rows, job.standard_sets, Lake(job.lake), job.seed)
        result |= {
            "listeners": _listeners(models),
            "standard_sets": sets,
            "standard_sets_markdown": standard_markdown(sets, settings.modes),
        }
        result |= _constraint(job, held_out.rows, tables.rows, report)
        result |= _modules(job, held_out.rows, tokenizer_digest)
        result |= {"seconds": round(time.monotonic() - began, 1), "run_id": run.run_id}
        _track(run, tables, result, job.output_dir)
    report.log("\n" + result["scores_markdown"])
    write_result(job.output_dir, result)
    return result


@dataclass(frozen=True)
class _Tables:
    """What was scored: by row, by slice of the gate's figures, and by one property at a time."""

    rows: pl.DataFrame
    scores: pl.DataFrame
    slices: pl.DataFrame

    @classmethod
    def of(cls, rows: pl.DataFrame, seed: int) -> _Tables:
        return cls(rows, score_table(rows, seed), slice_table(rows, seed))

    def write(self, directory: Path) -> None:
        for table, name in ((self.rows, ROWS_FILE), (self.scores, SCORES_FILE), (self.slices, SLICES_FILE)):
            with replacing(directory / name) as temporary:
                table.write_parquet(temporary)


def _result(
    tables: _Tables, held_out: HeldOut, left_out: dict[str, int], modes: Sequence[Mode], seed: int
) -> dict[str, Any]:
    rows, figures = tables.rows, overall(tables.rows)
    slices, speakers_left_out = shortened(tables.slices)
    return {
        "overall": figures,
        **{f"{mode}_{name}": value for mode, values in figures.items() for name, value in values.items()},
        "intervals": intervals(rows, seed),
        "boost_minus_vanilla": differences(rows, "boost", "vanilla", seed),
        "slices": slices,
        "slices_speakers_left_out": speakers_left_out,
        "normalisers": {
            language: asdict(normaliser_of(language)) for language in sorted(rows["language"].unique())
        },
        "rows": rows.select("corpus", "row_id", "task").n_unique(),
        "held_out_digest": held_out.digest,
        "left_out": left_out,
        "cut_replies": int((~rows["ended"]).sum()),
        "scores_markdown": scores_markdown(tables.scores, modes),
        "slices_markdown": slices_markdown(tables.slices, modes),
        "schedules_markdown": schedules_markdown(schedule_table(rows, seed)),
    }


def _constraint(
    job: EvaluateJob, rows: Sequence[EvaluationRow], scored: pl.DataFrame, report: Reporter
) -> dict[str, Any]:
    """What constraining costs or saves, from the same rows decoded the other way too."""
    settings, decoding = job.settings, job.decoding
    record: dict[str, Any] = {"decoding": decoding.model_dump(), "constraint": []}
    if not settings.constraint_modes:
        return record | {"constraint_markdown": UNMEASURED}
    other = decoding.model_copy(update={"constrained": not decoding.constrained})
    modes, limit = settings.constraint_modes, settings.max_new_tokens
    report.log(f"decoding {', '.join(modes)} the other way too: {other.words()}")
    answers, _ = answers_of(job.model_dir, job.ratio, rows, modes, limit, other, report)
    sides = {decoding.constrained: scored, other.constrained: row_table(rows, answers)}
    table = constraint_table(
        sides[False].filter(pl.col("mode").is_in(modes)),
        sides[True].filter(pl.col("mode").is_in(modes)),
        job.seed,
    )
    return record | {"constraint": table.to_dicts(), "constraint_markdown": constraint_markdown(table)}


def _modules(job: EvaluateJob, rows: Sequence[EvaluationRow], tokenizer_digest: str) -> dict[str, Any]:
    """How good each module is on the replies of these rows."""
    from training_jobs.held_out_replies import quality_of_modules

    quality, too_long = quality_of_modules(Lake(job.lake), rows, tokenizer_digest, job.model_dir, job.ratio)
    return {
        "modules": quality.to_records(),
        "module_metrics": quality.metrics(),
        "modules_markdown": quality.to_markdown(),
        "replies_too_long": too_long,
    }


def _listeners(models: ModelMeasures | None) -> list[str]:
    """Who heard the spoken replies."""
    found = ["the model itself, in Vanilla"]
    if models is not None and models.transcript is not None:
        found.append(f"Whisper ({models.transcript.model.name})")
    if models is not None and models.mos:
        found.append("DNSMOS")
    return found


def _track(run: TrackedRun, tables: _Tables, result: dict[str, Any], output_dir: Path) -> None:
    figures: dict[str, dict[str, float]] = result["overall"]
    run.metrics(
        {f"{mode}/{name}": value for mode, values in figures.items() for name, value in values.items()}
    )
    run.metrics(result["module_metrics"])
    run.text(result["modules_markdown"], "modules.md")
    run.text(result["schedules_markdown"], "schedules.md")
    run.text(result["constraint_markdown"], "constraint.md")
    run.table(tables.scores.to_dict(as_series=False), "scores.json")
    run.table(tables.slices.to_dict(as_series=False), "slices.json")
    run.text(result["scores_markdown"], "scores.md")
    run.text(result["slices_markdown"], "slices.md")
    run.text(result["standard_sets_markdown"], "standard_sets.md")
    for name in (ROWS_FILE, SCORES_FILE, SLICES_FILE):
        run.artifact(output_dir / name)


def _run(job: EvaluateJob, report: Reporter) -> None:
    evaluate(job, report)


if __name__ == "__main__":
    program_main(EvaluateJob, _run)
