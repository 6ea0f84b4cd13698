"""The head of a version's page: what a reader is to know first, and the gate's criteria one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training_jobs.version_facts import VersionFacts
from training_jobs.version_tables import figure_text, figure_words

_OUTCOMES = {"failed": "bad", "held": "good", "not compared": "", "note": ""}
_WANTED = ("asr_known_wer", "asr_unseen_wer", "asr_unstated_wer", "sqa_exact", "tts_wer")
_MOST_FIGURES = 3


@dataclass(frozen=True)
class Tile:
    """One figure, what it is of, and its class in the style sheet."""

    value: str
    words: str
    kind: str = ""


@dataclass(frozen=True)
class Criterion:
    """One line of the gate's decision."""

    outcome: str
    words: str
    kind: str


def criteria(facts: VersionFacts) -> list[Criterion]:
    """The gate's reasons, each with its outcome."""
    found = []
    for line in _reasons(facts):
        outcome, _, words = line.partition(": ")
        known = outcome in _OUTCOMES and bool(words)
        found.append(Criterion(outcome, words, _OUTCOMES[outcome]) if known else Criterion("", line, ""))
    return found


def _reasons(facts: VersionFacts) -> Sequence[str]:
    if facts.registration is not None:
        reasons: Sequence[str] = facts.registration["gate_reasons"]
        return reasons
    return facts.tags.get("gate_reasons", "").splitlines()


def tiles(facts: VersionFacts) -> list[Tile]:
    """Gate, quality, speed and training at a glance; what is not known has no tile."""
    found = [_gate(facts)]
    boost: Mapping[str, Any] = (facts.evaluation or {}).get("overall", {}).get("boost", {})
    ends = (facts.evaluation or {}).get("intervals", {}).get("boost", {})
    for name in [one for one in _WANTED if one in boost][:_MOST_FIGURES]:
        task, figure = figure_words(name)
        found.append(
            Tile(figure_text(name, boost[name], None), f"{task}, Boost: {figure}{_within(name, ends)}")
        )
    fast = (facts.latency or {}).get("modes", {}).get("boost", {})
    if "first_chunk_ms_p50" in fast:
        found.append(Tile(f"{fast['first_chunk_ms_p50']:,.1f} ms", "to the first audio chunk, Boost, median"))
    if "tokens_per_second_p50" in fast:
        times = f", {fast['speedup']:.2f} × Vanilla" if "speedup" in fast else ""
        found.append(Tile(f"{fast['tokens_per_second_p50']:,.0f}", f"tokens/s, Boost, median{times}"))
    if facts.data.shares:
        hours = sum(share.hours for share in facts.data.shares)
        rows = sum(share.rows for share in facts.data.shares)
        text = f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:,.1f} min"
        found.append(Tile(text, f"of training audio, {rows:,} rows, {len(facts.data.shares)} corpora"))
    return found


def _gate(facts: VersionFacts) -> Tile:
    outcome = facts.tags.get("gate")
    if outcome is None:
        return Tile("no gate", "this version has no decision of the gate")
    failed = sum(one.outcome == "failed" for one in criteria(facts))
    if outcome == "passed":
        return Tile("passed", "the gate", "good")
    return Tile("refused", f"by the gate: {failed} of its checks failed", "bad")


def _within(name: str, ends: Mapping[str, Sequence[float]]) -> str:
    if name not in ends:
        return ""
    low, high = ends[name]
    return f"; 95 % interval {100 * low:.1f} to {100 * high:.1f}"
