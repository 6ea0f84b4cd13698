"""Finds what ``voxline export`` is asked for in a home, and writes it with its card."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.outputs import Outputs
from assets.workspace import Workspace
from pipelines.status import registry
from training_jobs.export_weights import CARD_FILE, Exported, export_weights
from training_jobs.jobs import RESULT_FILE, read_result
from training_jobs.lineage import json_file
from training_jobs.model_card import CardFacts, model_card
from training_jobs.spec import STAGES
from training_jobs.tracking_store import REGISTERED_MODEL
from training_jobs.trained_on import TrainedStage, beside, forgotten_since, packs_of, shares, stages_of
from training_jobs.weights import model_digest
from validation.digests import digest_directory
from validation.errors import ConfigurationError

_BASE = "base_model"


@dataclass(frozen=True)
class Wanted:
    """What is to be exported.

    Attributes:
        name: for the card's title.
        output: directory of the stage's output; the weights lie in ``model/``.
        tokenizer_dir: of the audio tokenizer that it was trained with; ``None`` where that is gone.
        digest: of weights, or of weights and audio tokenizer, as they were when they were made.
        evaluation: result of the evaluation of these weights, if there is one; ``latency`` likewise.
    """

    name: str
    output: Path
    tokenizer_dir: Path | None
    digest: str
    evaluation: dict[str, Any] | None
    latency: dict[str, Any] | None

    @property
    def model_dir(self) -> Path:
        """Weights, configuration and text tokenizer."""
        return self.output / "model"


def export(workspace: Workspace, what: str, target: Path, code_from: Path | None) -> Exported:
    """Write the stage, version or alias ``what`` to ``target``, which appears whole or not at all.

    Raises:
        ConfigurationError: if there is no such thing, its weights have changed, or ``target`` is not empty.
        training_jobs.export_weights.ExportError: if ``code_from`` is not upstream's code.
    """
    target = target.resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigurationError(f"{target} is there already and not an empty directory: give another one")
    wanted = find(workspace, what)
    _require_unchanged(wanted)
    stages = stages_of(wanted.output)
    working = target.with_name(f".{target.name}.voxline")
    shutil.rmtree(working, ignore_errors=True)  # what a killed export left
    working.mkdir(parents=True)
    try:
        ratio = _ratio(workspace, stages)
        exported = export_weights(wanted.model_dir, working, ratio, code_from, wanted.tokenizer_dir)
        (working / CARD_FILE).write_text(_card(workspace, wanted, stages, exported), encoding="utf-8")
        if target.exists():
            target.rmdir()
        working.replace(target)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return exported


def find(workspace: Workspace, what: str) -> Wanted:
    """The present output of a stage (or ``base_model``), or what a registered version or alias stands for.

    Raises:
        ConfigurationError: naming what there is.
    """
    if what in (_BASE, *STAGES):
        return _stage(workspace, what)
    known = registry(workspace).get("aliases", {})
    version = known.get(what, what)
    for path in sorted((workspace.training_dir / "registered_model").glob("*")):
        result, job = read_result(path), json_file(path / "job.json")
        if result is not None and str(result["version"]) == version:
            return Wanted(
                name=f"{REGISTERED_MODEL} version {version}",
                output=beside(path, Path(job["model_dir"]).parent),
                tokenizer_dir=beside(path, Path(job["tokenizer_dir"]).parent)
                / Path(job["tokenizer_dir"]).name,
                digest=str(result["model_digest"]),
                evaluation=read_result(beside(path, Path(job["evaluation_dir"]))),
                latency=read_result(beside(path, Path(job["benchmark_dir"]))),
            )
    raise ConfigurationError(
        f"{what!r} is no stage ({', '.join((_BASE, *STAGES))}), and {workspace.training_dir} has registered no such "
        f"version; aliases: {', '.join(f'{alias} = {number}' for alias, number in known.items()) or 'none'}"
    )


def _stage(workspace: Workspace, stage: str) -> Wanted:
    outputs = Outputs(workspace.training_dir)
    output = outputs.present(stage)
    job = json_file(output.path / "job.json")
    wanted = job.get("tracking", {}).get("tags", {}).get("tokenizer_digest")
    return Wanted(
        name=f"{stage} ({workspace.profile_name})",
        output=output.path,
        tokenizer_dir=_tokenizer(workspace.training_dir, wanted),
        digest=str(output.result()["model_digest"]),
        evaluation=_about(outputs, "evaluation_report", output.path),
        latency=_about(outputs, "latency_benchmark", output.path),
    )


def _about(outputs: Outputs, asset: str, output: Path) -> dict[str, Any] | None:
    """The present result of ``asset``, if it is about the model in ``output``."""
    found = outputs.find(asset)
    if (
        found is None
        or beside(found.path, Path(json_file(found.path / "job.json")["model_dir"]).parent) != output
    ):
        return None
    return read_result(found.path)


def _tokenizer(training_dir: Path, digest: str | None) -> Path | None:
    for path in sorted((training_dir / "speech_tokenizer").glob("*")):
        result = read_result(path) if (path / RESULT_FILE).is_file() else None
        if digest is not None and result is not None and result.get("tokenizer_digest") == digest:
            return path / "tokenizer"
    return None


def _require_unchanged(wanted: Wanted) -> None:
    is_version = wanted.name.startswith(REGISTERED_MODEL)
    assert not is_version or wanted.tokenizer_dir is not None
    now = (
        model_digest(wanted.model_dir, wanted.tokenizer_dir)
        if is_version and wanted.tokenizer_dir is not None
        else digest_directory(wanted.model_dir)
    )
    if now != wanted.digest:
        raise ConfigurationError(
            f"{wanted.name}: what lies in {wanted.model_dir} has changed since it was made: digest {now}, was "
            f"{wanted.digest}"
        )


def _ratio(workspace: Workspace, stages: list[TrainedStage]) -> tuple[int, ...]:
    spec = stages[-1].job.get("spec") if stages else None
    return tuple(spec["ratio"]) if spec is not None else workspace.stage(STAGES[0]).ratio


def _card(workspace: Workspace, wanted: Wanted, stages: list[TrainedStage], exported: Exported) -> str:
    packs = packs_of(stages)
    corpora = sorted({corpus for pack in packs for corpus in json_file(pack / "job.json").get("corpora", [])})
    tags = stages[-1].job.get("tracking", {}).get("tags", {}) if stages else {}
    digests = {"model": wanted.digest}
    digests |= {
        name.replace("_", " "): tags[name] for name in ("data_digest", "tokenizer_digest") if name in tags
    }
    kind = None
    if wanted.tokenizer_dir is not None:
        kind = json_file(wanted.tokenizer_dir / "config.json").get("kind")
    return model_card(
        CardFacts(
            name=wanted.name,
            exported=exported,
            stages=stages,
            shares=shares(packs, workspace.lake, corpora),
            forgotten=forgotten_since(packs),
            evaluation=wanted.evaluation,
            latency=wanted.latency,
            digests=digests,
            tokenizer_kind=kind,
        )
    )
