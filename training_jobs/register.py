"""Registers a checkpoint, and promotes it where the gate holds: ``python -m training_jobs.register``.

The version of ``vita-audio-mctp`` gets the tags of DESIGN §7, the figures of evaluation and latency as metrics of its
run and model, the alias ``candidate``, and ``champion`` if the gate holds: by itself, and side by side with the present
champion where that is another version (:mod:`training_jobs.duel`). A model that is registered already (same weights,
same tokenizers, decoded in the same way) gets no second version: its figures and aliases are renewed.

Leaves ``result.json`` with ``version``, its ``aliases``, ``created``, ``gate_passed``, ``gate_reasons``,
``registry_aliases`` (alias to version, of the whole registered model), ``weights`` (``copied`` or ``by_reference``),
``model_digest``, ``run_id``, ``registry_markdown``, and of the duel ``duel`` (per figure: candidate, champion,
difference, interval, limit, held), ``duel_champion`` (its version) and ``duel_markdown``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_jobs.gate import GateDecision, GateThresholds, decide_alone, load_thresholds
from training_jobs.jobs import RegisterJob, read_result, write_result
from training_jobs.program import program_main
from training_jobs.promotion import GATE, Change, crown, description_with, withdrawn
from training_jobs.registered import (
    CANDIDATE,
    CHAMPION,
    DECODING_TAG,
    DIGEST_TAG,
    RATIO_TAG,
    model_id_of,
    registry_turn,
    serves_as,
    set_alias,
    set_tags,
    version_at,
    version_with,
)
from training_jobs.registry import WEIGHTS_TAG, create_version
from training_jobs.reporting import Reporter
from training_jobs.tracking import TrackedRun, tracked_run
from training_jobs.tracking_store import REGISTERED_MODEL
from training_jobs.version_figures import (
    HARDWARE_TAG,
    HELD_OUT_TAG,
    RegistrationError,
    figures_to_metrics,
    metrics_to_figures,
    noted_figures,
)
from training_jobs.weights import COPY_LIMIT_BYTES, model_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from training_jobs.duel import Duel
    from training_jobs.gate import Figures

_ATTEMPTS = 3  # while others change the champion
_NO_DUEL = "It was compared with no champion."


def register(
    job: RegisterJob,
    report: Reporter,
    copy_limit_bytes: int = COPY_LIMIT_BYTES,
    thresholds: GateThresholds | None = None,
) -> dict[str, Any]:
    """Register and, where the gate holds, promote; see the module's docstring for what is written.

    Args:
        thresholds: those of ``gate.yaml``, unless others are given.

    Raises:
        RegistrationError: if evaluation or benchmark have not finished.
        validation.errors.ConfigurationError: if ``gate.yaml`` is wrong.
        training_jobs.evaluation_rows.EvaluationError, training_jobs.lake_audio.StoredAudioError: if the held-out rows
            cannot be asked as they stand.
    """
    evaluation, latency = _finished(job.evaluation_dir), _finished(job.benchmark_dir)
    thresholds = thresholds or load_thresholds()
    digest = model_digest(job.model_dir, job.tokenizer_dir)
    metrics = figures_to_metrics(evaluation, latency)
    taken_on = {HARDWARE_TAG: latency["hardware_digest"], HELD_OUT_TAG: evaluation["held_out_digest"]}
    candidate = metrics_to_figures(metrics, taken_on)
    tags = {
        **job.tracking.tags,
        DIGEST_TAG: digest,
        DECODING_TAG: job.decoding.tag(),
        RATIO_TAG: " ".join(map(str, job.ratio)),
        **taken_on,
    }
    params = {DIGEST_TAG: digest, **job.decoding.model_dump(), **thresholds.model_dump()}
    with tracked_run(job.tracking, "voxline/evaluation", "registration", params) as run:
        client = run.client
        version, created = _one_version(job, run, digest, tags, copy_limit_bytes)
        _write_figures(client, version, metrics)
        set_alias(client, CANDIDATE, version)
        for _ in range(_ATTEMPTS):
            champion = version_at(client, CHAMPION)
            rival = None if champion is None or serves_as(champion, digest, job.decoding) else champion
            taken_away = None if rival is None else withdrawn(version)
            duel = None
            # What a person took away, the gate does not give back, whatever a duel would say.
            if rival is not None and taken_away is None:
                duel = _duel(job, client, rival, evaluation, candidate, thresholds, report)
            decision = decide_alone(candidate, thresholds)
            if duel is not None:
                duel.judge(decision)
            if taken_away is not None:
                decision.check(False, f"{taken_away}; voxline promote {version.version} gives it back")
            _describe(client, version, tags, decision, duel, evaluation, latency)
            if not decision.passed or _promoted(client, job, version, champion):
                break
            report.log("another version has become champion meanwhile: against that one, too")
        else:
            raise RegistrationError(f"the champion was changed {_ATTEMPTS} times while it was compared with")
        result = _result(client, version, created, decision, duel)
        result |= {"model_digest": digest, "run_id": run.run_id}
        _track(run, result, duel)
    for line in decision.reasons:
        report.log(line)
    report.log(f"{REGISTERED_MODEL} version {version.version}: {', '.join(result['aliases']) or 'no alias'}")
    write_result(job.output_dir, result)
    return result


def _finished(directory: Path) -> dict[str, Any]:
    result = read_result(directory)
    if result is None:
        raise RegistrationError(f"{directory} has no result.json: the program that fills it has not finished")
    return result


def _one_version(
    job: RegisterJob, run: TrackedRun, digest: str, tags: Mapping[str, str], copy_limit_bytes: int
) -> tuple[ModelVersion, bool]:
    """The version of this model, and whether it was made here."""
    with registry_turn(job.tracking.uri):
        version = version_with(run.client, digest, job.decoding)
        if version is not None:
            return version, False
        made = create_version(
            job.tracking.uri,
            run.run_id,
            job.model_dir,
            job.tokenizer_dir,
            tags,
            copy_limit_bytes,
            decoding=job.decoding,
        )
    # Behind a server, another process may have made one meanwhile: both see both, and the first one stays.
    first = version_with(run.client, digest, job.decoding)
    assert first is not None
    if str(first.version) == str(made.version):
        return made, True
    run.client.delete_model_version(REGISTERED_MODEL, made.version)
    run.client.delete_logged_model(model_id_of(made))
    return first, False


def _duel(
    job: RegisterJob,
    client: MlflowClient,
    rival: ModelVersion,
    evaluation: Mapping[str, Any],
    candidate: Figures,
    thresholds: GateThresholds,
    report: Reporter,
) -> Duel:
    from training_jobs.duel import against_record, run_duel
    from training_jobs.version_weights import LostVersionError

    try:
        return run_duel(job, client, rival, evaluation, thresholds, report)
    except LostVersionError as error:
        noted = noted_figures(client, rival)
        return against_record(job, rival, str(error), evaluation, candidate, noted, thresholds)


def _promoted(
    client: MlflowClient, job: RegisterJob, version: ModelVersion, champion: ModelVersion | None
) -> bool:
    if champion is not None and serves_as(champion, version.tags[DIGEST_TAG], job.decoding):
        return True
    change = Change.now(GATE, "every check of the gate held")
    return crown(client, job.tracking.uri, version, change, over=champion, is_gates=True) is not None


def _write_figures(client: MlflowClient, version: ModelVersion, metrics: Mapping[str, float]) -> None:
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    # With the model's id, the figures stand on the logged model's page as well as on the run's.
    values = [
        Metric(name, value, now_ms, 0, model_id=model_id_of(version)) for name, value in metrics.items()
    ]
    assert version.run_id, version  # create_version() made it from a run
    client.log_batch(version.run_id, metrics=values)


def _describe(
    client: MlflowClient,
    version: ModelVersion,
    tags: Mapping[str, str],
    decision: GateDecision,
    duel: Duel | None,
    evaluation: Mapping[str, Any],
    latency: Mapping[str, Any],
) -> None:
    gate = {"gate": "passed" if decision.passed else "failed", "gate_reasons": "\n".join(decision.reasons)}
    set_tags(client, version, {**tags, **gate})
    parts = [
        "## Evaluation\n\n" + evaluation["scores_markdown"],
        "## Latency\n\n" + latency["latency_markdown"],
        f"## Gate: {gate['gate']}\n\n" + _bullets(decision),
        *([f"## Side by side\n\n{duel.markdown()}"] if duel is not None else []),
    ]
    stored = client.get_model_version(REGISTERED_MODEL, version.version)
    text = description_with("\n\n".join(parts), stored)
    client.update_model_version(REGISTERED_MODEL, version.version, description=text)


def _result(
    client: MlflowClient, version: ModelVersion, created: bool, decision: GateDecision, duel: Duel | None
) -> dict[str, Any]:
    registry = client.get_registered_model(REGISTERED_MODEL).aliases
    stored = client.get_model_version(REGISTERED_MODEL, version.version)
    aliases = sorted(stored.aliases)
    markdown = (
        f"**{REGISTERED_MODEL} version {version.version}** "
        f"({', '.join(aliases) or 'no alias'}; gate {stored.tags['gate']})\n\n{_bullets(decision)}"
    )
    return {
        "registered_model": REGISTERED_MODEL,
        "version": str(version.version),
        "created": created,
        "model_id": model_id_of(stored),
        "weights": stored.tags[WEIGHTS_TAG],
        "aliases": aliases,
        "registry_aliases": {alias: str(number) for alias, number in registry.items()},
        "gate_passed": decision.passed,
        "gate_reasons": decision.reasons,
        "registry_markdown": markdown,
        "duel": {} if duel is None else duel.record(),
        "duel_champion": None if duel is None else duel.champion,
        "duel_markdown": _NO_DUEL if duel is None else duel.markdown(),
    }


def _track(run: TrackedRun, result: Mapping[str, Any], duel: Duel | None) -> None:
    run.text(result["registry_markdown"], "registration.md")
    if duel is None:
        return
    run.text(result["duel_markdown"], "duel.md")
    run.metrics(
        {
            f"duel/{one.name}/{part}": getattr(one, part)
            for one in duel.comparisons
            for part in ("candidate", "champion", "difference", "low", "high", "limit")
        }
    )


def _bullets(decision: GateDecision) -> str:
    return "\n".join(f"- {line}" for line in decision.reasons)


def _run(job: RegisterJob, report: Reporter) -> None:
    register(job, report)


if __name__ == "__main__":
    program_main(RegisterJob, _run)
