"""The page of a registered version: one HTML file that needs nothing else, and on which nothing runs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from training_jobs.spec import STAGES
from training_jobs.version_charts import LossChart, loss_charts
from training_jobs.version_facts import PLOTS, StageFacts, VersionFacts
from training_jobs.version_summary import Criterion, Tile, criteria, tiles
from training_jobs.version_tables import (
    Table,
    by_column,
    duel_table,
    from_markdown,
    overall_table,
    reference_table,
    table,
    with_names,
)
from validation.visible import visible

MOST_BYTES = 10 << 20  # of a page
_TEMPLATES = "templates/version"
_SETTINGS = (
    "trainable",
    "mctp_modules",
    "learning_rate",
    "mctp_learning_rate_factor",
    "weight_decay",
    "steps",
    "batch_rows",
    "sequence_length",
    "mixture",
    "ratio",
    "precision",
    "zero_stage",
    "seed",
)
_VERDICTS = {"converged": "good", "diverged": "bad"}  # classes of the style sheet; others leave a doubt


@dataclass(frozen=True)
class StageView:
    """A stage as the page shows it."""

    name: str
    description: str
    verdict: str
    kind: str
    why: str
    facts: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str]]
    charts: Sequence[LossChart]
    trends: Sequence[Table]
    missing: str


@dataclass(frozen=True)
class Plot:
    """A picture of the benchmark."""

    title: str
    png: str
    words: str


@dataclass(frozen=True)
class PageView:
    """All that the template asks for."""

    facts: VersionFacts
    tiles: Sequence[Tile]
    criteria: Sequence[Criterion]
    stages: Sequence[StageView]
    evaluation: Sequence[Table]
    slices: Sequence[Table]
    standard: Sequence[Table]
    modules: Sequence[Table]
    reference: Table | None
    speed: Sequence[Table]
    latency: Sequence[Table]
    plots: Sequence[Plot]
    duel: Table | None
    kept: Table | None


def version_page(facts: VersionFacts) -> bytes:
    """The page, UTF-8."""
    return _environment().get_template("version.html").render(view=_view(facts)).encode("utf-8")


def _view(facts: VersionFacts) -> PageView:
    evaluation, latency, registration = facts.evaluation or {}, facts.latency or {}, facts.registration or {}
    rules, duel = evaluation.get("reference_rules"), registration.get("duel")
    return PageView(
        facts=facts,
        tiles=tiles(facts),
        criteria=criteria(facts),
        stages=_stages(facts),
        evaluation=[
            *([overall_table(evaluation)] if "overall" in evaluation else []),
            *_written("Each decode schedule beside Vanilla", evaluation, "schedules_markdown"),
            *_written("Figures by task, corpus, language and voices", evaluation, "scores_markdown"),
        ],
        slices=[
            part
            for whole in _written("Slices", evaluation, "slices_markdown")
            for part in by_column(with_names(whole), "by", "Figures by")
        ],
        standard=[
            with_names(one) for one in _written("Standard test sets", evaluation, "standard_sets_markdown")
        ],
        modules=_written("Each level on the held-out replies", evaluation, "modules_markdown"),
        reference=None if rules is None else reference_table(rules),
        speed=_written("Latency of the shortest prompts, briefly", latency, "latency_markdown"),
        latency=_written("Latency", latency, "latency_by_prompt_markdown"),
        plots=[
            Plot(name.removesuffix(".png").replace("_", " "), base64.b64encode(png).decode(), PLOTS[name])
            for name, png in facts.plots.items()
        ],
        duel=duel_table(duel, str(registration["duel_champion"])) if duel else None,
        kept=_kept(facts) if facts.evaluation is None and facts.metrics else None,
    )


def _written(caption: str, result: Mapping[str, Any], key: str) -> list[Table]:
    return from_markdown(caption, result[key]) if result.get(key) else []


def _kept(facts: VersionFacts) -> Table:
    rows = [(name, f"{value:.6g}") for name, value in sorted(facts.metrics.items())]
    return table("Figures that the version's run has kept in MLflow", ["figure", "value"], rows, [1])


def _stages(facts: VersionFacts) -> list[StageView]:
    known = {one.stage.name: one for one in facts.stages}
    if not known:
        return []
    return [_stage(name, known.get(name)) for name in STAGES]


def _stage(name: str, found: StageFacts | None) -> StageView:
    if found is None:
        why = "This stage was not trained for this version: its base model starts at a later stage, or it ends earlier."
        return StageView(name, "", "", "", "", [], [], [], [], why)
    spec, result = found.stage.job.get("spec", {}), found.stage.result
    missing = [] if result else ["its result is not there any more"]
    missing += [] if found.history is not None else ["its history of losses is not there any more"]
    verdict = str(result.get("verdict", "not known"))
    return StageView(
        name=name,
        description=str(spec.get("description", "")),
        verdict=verdict,
        kind=_VERDICTS.get(verdict, "doubt"),
        why=str(result.get("verdict_why", "")),
        facts=_facts(result),
        settings=[
            (key.replace("_", " "), " ".join(map(str, value)) if isinstance(value, list) else str(value))
            for key in _SETTINGS
            if (value := spec.get(key)) is not None
        ],
        charts=[] if found.history is None else loss_charts(name, found.history),
        trends=_written(f"Verdict on each loss of {name}", result, "trends_markdown"),
        missing="; ".join(missing),
    )


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = {
        "loss, before and after": _pair(result, "first_loss", "last_loss"),
        "time": _seconds(result.get("seconds")),
        "of it training": _seconds(result.get("training_seconds")),
        "tokens": _number(result.get("tokens")),
        "tokens/s": _number(result.get("tokens_per_s")),
        "ranks": _number(result.get("world_size")),
        "device": result.get("device"),
        "parameters trained": _number(result.get("trainable_parameters")),
        "peak memory": None
        if not result.get("peak_bytes")
        else f"{max(result['peak_bytes']) / 2**20:,.0f} MiB",
        "gradient spikes": _number(result.get("gradient_spikes")),
        "warnings in the log": _number(result.get("warnings")),
        "errors in the log": _number(result.get("errors")),
        "resumed from": result.get("resumed_from"),
    }
    return [(name, str(value)) for name, value in told.items() if value is not None]


def _pair(result: Mapping[str, Any], *names: str) -> str | None:
    values = [result.get(name) for name in names]
    return None if None in values else " → ".join(f"{value:.3f}" for value in values if value is not None)


def _seconds(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    hours, rest = divmod(round(seconds), 3600)
    return (
        f"{hours} h {rest // 60} min"
        if hours
        else f"{rest // 60} min {rest % 60} s"
        if rest >= 60
        else f"{seconds:.1f} s"
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("training_jobs", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = files("training_jobs").joinpath(_TEMPLATES, "style.css").read_text(encoding="utf-8")
    # Our own file; as it is, or its quotes would be escaped.
    environment.globals["style"] = Markup(style)  # noqa: S704
    environment.filters["hours"] = lambda hours: (
        f"{60 * hours:.1f} min" if 0 < hours < 1 else f"{hours:,.1f} h"
    )
    return environment
