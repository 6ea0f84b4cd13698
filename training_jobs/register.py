"""Registers a checkpoint, and promotes it where the gate holds: ``python -m training_jobs.register``.

The version of ``vita-audio-mctp`` gets the tags of DESIGN §7, the figures of evaluation and latency as metrics of its
run and model, the alias ``candidate``, and ``champion`` if the gate holds against the present champion. A model that is
registered already (same weights, same tokenizers) gets no second version: its figures and aliases are renewed.

Leaves ``result.json`` with ``version``, its ``aliases``, ``created``, ``gate_passed``, ``gate_reasons``,
``registry_aliases`` (alias to version, of the whole registered model), ``weights`` (``copied`` or ``by_reference``),
``model_digest``, ``run_id`` and ``registry_markdown``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training_jobs.gate import Figures, GateDecision, decide, load_thresholds
from training_jobs.jobs import RegisterJob, read_result, write_result
from training_jobs.program import program_main
from training_jobs.registered import CANDIDATE, CHAMPION, DIGEST_TAG, version_at, version_with
from training_jobs.registry import WEIGHTS_TAG, create_version, model_id_of
from training_jobs.reporting import Reporter
from training_jobs.tracking import tracked_run
from training_jobs.tracking_store import REGISTERED_MODEL
from training_jobs.weights import COPY_LIMIT_BYTES, model_digest
from validation.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# What a version's figures were taken on: the machine, and the rows.
_HARDWARE_TAG = "hardware_digest"
_HELD_OUT_TAG = "held_out_digest"


class RegistrationError(UserError):
    """Something that a registration needs and that is not there; names the directory."""


def register(job: RegisterJob, report: Reporter, copy_limit_bytes: int = COPY_LIMIT_BYTES) -> dict[str, Any]:
    """Register and, where the gate holds, promote; see the module's docstring for what is written.

    Raises:
        RegistrationError: if evaluation or benchmark have not finished.
        validation.errors.ConfigurationError: if ``gate.yaml`` is wrong.
    """
    evaluation, latency = _finished(job.evaluation_dir), _finished(job.benchmark_dir)
    thresholds = load_thresholds()
    digest = model_digest(job.model_dir, job.tokenizer_dir)
    metrics = figures_to_metrics(evaluation, latency)
    taken_on = {_HARDWARE_TAG: latency["hardware_digest"], _HELD_OUT_TAG: evaluation["held_out_digest"]}
    tags = {**job.tracking.tags, DIGEST_TAG: digest, **taken_on}
    params = {DIGEST_TAG: digest, **thresholds.model_dump()}
    with tracked_run(job.tracking, "voxline/evaluation", "registration", params) as run:
        client = run.client
        version = version_with(client, digest)
        created = version is None
        if version is None:
            version = create_version(
                job.tracking.uri, run.run_id, job.model_dir, job.tokenizer_dir, tags, copy_limit_bytes
            )
        _write_figures(client, version, metrics)
        client.set_registered_model_alias(REGISTERED_MODEL, CANDIDATE, version.version)
        champion = version_at(client, CHAMPION)
        is_champion = champion is not None and champion.version == version.version
        rival = figures_of(client, champion) if champion is not None and not is_champion else None
        decision = decide(metrics_to_figures(metrics, taken_on), rival, thresholds)
        _describe(client, version, tags, decision, evaluation, latency)
        if decision.passed:
            client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version.version)
        result = _result(client, version, created, decision) | {"model_digest": digest, "run_id": run.run_id}
        run.text(result["registry_markdown"], "registration.md")
    for line in decision.reasons:
        report.log(line)
    report.log(f"{REGISTERED_MODEL} version {version.version}: {', '.join(result['aliases']) or 'no alias'}")
    write_result(job.output_dir, result)
    return result


def figures_to_metrics(evaluation: Mapping[str, Any], latency: Mapping[str, Any]) -> dict[str, float]:
    """``<mode>/<figure>`` to value: what a version keeps, and what the gate reads back from the champion's."""
    metrics: dict[str, float] = {}
    for mode, figures in evaluation["overall"].items():
        metrics |= {f"{mode}/{name}": value for name, value in figures.items()}
    for mode, figures in latency["modes"].items():
        metrics |= {f"{mode}/{name}": value for name, value in figures.items() if name != "mode"}
    return metrics


def metrics_to_figures(metrics: Mapping[str, float], tags: Mapping[str, str]) -> Figures:
    """What the gate looks at, from a version's metrics and tags."""

    def scores(mode: str) -> dict[str, float]:
        prefix = f"{mode}/"
        return {
            name.removeprefix(prefix): value
            for name, value in metrics.items()
            if name.startswith(prefix) and name.endswith(("_wer", "_exact"))
        }

    suffix = "/tokens_per_second_p50"
    return Figures(
        scores=scores("boost"),
        vanilla_scores=scores("vanilla"),
        tokens_per_second={
            name.removesuffix(suffix): value for name, value in metrics.items() if name.endswith(suffix)
        },
        first_chunk_ms=metrics["boost/first_chunk_ms_p50"],
        hardware=tags.get(_HARDWARE_TAG, ""),
        held_out=tags.get(_HELD_OUT_TAG, ""),
    )


def figures_of(client: MlflowClient, version: ModelVersion) -> Figures:
    """A registered version's figures, from the metrics of its run and its tags.

    Raises:
        RegistrationError: if its run or figures were deleted, or it was not registered by this program.
    """
    metrics = client.get_run(version.run_id).data.metrics if version.run_id else {}
    if "boost/first_chunk_ms_p50" not in metrics:
        raise RegistrationError(
            f"{REGISTERED_MODEL} version {version.version} is champion, but its run {version.run_id or '(none)'} has "
            f"no figures to compare with; take the alias {CHAMPION!r} away, or set it to a version that has them"
        )
    return metrics_to_figures(metrics, version.tags)


def _finished(directory: Path) -> dict[str, Any]:
    result = read_result(directory)
    if result is None:
        raise RegistrationError(f"{directory} has no result.json: the program that fills it has not finished")
    return result


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
    evaluation: Mapping[str, Any],
    latency: Mapping[str, Any],
) -> None:
    gate = {"gate": "passed" if decision.passed else "failed", "gate_reasons": "\n".join(decision.reasons)}
    for name, value in {**tags, **gate}.items():
        client.set_model_version_tag(REGISTERED_MODEL, version.version, name, value)
    parts = [
        "## Evaluation\n\n" + evaluation["scores_markdown"],
        "## Latency\n\n" + latency["latency_markdown"],
        f"## Gate: {gate['gate']}\n\n" + _bullets(decision),
    ]
    client.update_model_version(REGISTERED_MODEL, version.version, description="\n\n".join(parts))


def _result(
    client: MlflowClient, version: ModelVersion, created: bool, decision: GateDecision
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
    }


def _bullets(decision: GateDecision) -> str:
    return "\n".join(f"- {line}" for line in decision.reasons)


def _run(job: RegisterJob, report: Reporter) -> None:
    register(job, report)


if __name__ == "__main__":
    program_main(RegisterJob, _run)
