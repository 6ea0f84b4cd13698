"""How far each recording is from its limits, and which recordings a person should hear first.

A recording's *margin* to one limit is its distance from it as a share of the distance between the limit and the median
accepted recording of the corpus: 1 for a recording like that one, 0 at the limit, below 0 outside. So a level and a
length can be compared. A recording's margin is its smallest one over all limits. *Worst accepted* are those with the
smallest margins; *best rejected* those with the largest, which are the ones that miss by the least in the worst of what
they miss. One limit gives at most three of the ten of each list, as long as others have some.

Where the median accepted recording lies at the limit itself (no dead channel is allowed, and it has none), there is no
such distance: then, and for what is not measured of the sound (texts, error rates of files), the ledger's value and
limit are taken, as a share of the larger of the two. What has no numbers at all comes last, by its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from validation.batches import quoted
from validation.checks import CHECKS, Check
from validation.reasons import OUTCOME_OF, Outcome
from validation.scales import SCALE_OF
from validation.thresholds import Thresholds

LISTED = 10
MOST_OF_ONE = 3  # of one list, for one limit
OUTCOMES_BY_DISTANCE: tuple[Outcome, ...] = ("accepted", "quarantined", "rejected", "errored")
_TIES = 1e-9


@dataclass(frozen=True, slots=True)
class Ranked:
    """One recording of a list.

    Attributes:
        nearest: The limit that decides: the name of a threshold, or the ledger's reason.
        margin: To it; ``None`` where there are no numbers.
    """

    utterance_id: str
    nearest: str
    margin: float | None


@dataclass(frozen=True, slots=True)
class _Margin:
    name: str
    reason: str
    expression: str


def worst_accepted(
    connection: duckdb.DuckDBPyConnection, limits: Thresholds, medians: Mapping[str, float | None]
) -> list[Ranked]:
    """The accepted recordings that come nearest to a limit, the nearest first.

    Args:
        connection: From :func:`assets.report.facts.corpus_database`.
        medians: Of the accepted recordings, by column.
    """
    relation = "SELECT q.*, a.language FROM quality q JOIN accepted a USING (utterance_id)"
    return _spread(_least(connection, relation, _margins(limits, medians), "ASC"), is_worst=True)


def best_rejected(
    connection: duckdb.DuckDBPyConnection, limits: Thresholds, medians: Mapping[str, float | None]
) -> list[Ranked]:
    """The recordings that were not accepted and miss by the least, those first.

    Rows that ended before their recording was looked for are none. They may have the ids of rows that were accepted.
    """
    # What a person refused has been heard already.
    ended = """SELECT * FROM ended WHERE outcome <> 'accepted' AND stage <> 'raw_utterances'
        AND reason <> 'rejected_by_review'"""
    relation = f"""SELECT q.*, u.language, e.utterance_id AS id, e.reason, e.value, e."limit"
        FROM ({ended}) e JOIN (SELECT utterance_id, language FROM utterances WHERE audio_uri IS NOT NULL) u
            USING (utterance_id) LEFT JOIN quality q USING (utterance_id)"""  # noqa: S608 - our own names
    return _spread(
        _least(connection, relation, _margins(limits, medians), "DESC", is_told=True), is_worst=False
    )


def _margins(limits: Thresholds, medians: Mapping[str, float | None]) -> list[_Margin]:
    found = []
    for check in CHECKS:
        median = medians.get(check.column)
        if check.column not in SCALE_OF:
            continue
        limit = limits.limit(check.threshold, "default")
        typical = abs(median) if check.is_absolute and median is not None else median
        scale = abs(limit - typical) if typical is not None else abs(limit)
        if scale > _TIES:
            found.append(_Margin(check.threshold, check.reason, _expression(check, limits, scale)))
    return found


def _expression(check: Check, limits: Thresholds, scale: float) -> str:
    size = f"abs({check.column})" if check.is_absolute else check.column
    threshold = getattr(limits, check.threshold)
    limit = repr(float(limits.limit(check.threshold, "default")))
    if isinstance(threshold, dict):
        # The primary tag, as validation.thresholds.primary_language has it.
        primary = "regexp_extract(lower(language), '^[^-_]*')"
        cases = " ".join(
            f"WHEN {quoted(tag)} THEN {float(value)!r}" for tag, value in sorted(threshold.items())
        )
        limit = f"CASE {primary} {cases} ELSE {limit} END"
    distance = f"{size} - ({limit})" if check.side == "min" else f"({limit}) - {size}"
    margin = f"(({distance}) / {scale!r})::DOUBLE"
    return f"CASE WHEN duration_s >= {check.from_s!r} THEN {margin} END" if check.from_s else margin


def _least(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    margins: Sequence[_Margin],
    order: str,
    is_told: bool = False,
) -> list[Ranked]:
    """The first :data:`LISTED` recordings of each limit."""
    listed = ", ".join(one.expression for one in margins) or "NULL::DOUBLE"
    names = ", ".join(quoted(one.name) for one in margins) or "NULL::VARCHAR"
    identity = "utterance_id"
    if is_told:
        told = '-abs(value - "limit") / greatest(abs(value), abs("limit"), 1e-9)'
        if margins:
            known = ", ".join(quoted(one.reason) for one in margins)
            told = f"CASE WHEN reason NOT IN ({known}) THEN {told} END"
        listed, names, identity = f"{listed}, {told}", f"{names}, reason", "id"
    # A struct is compared by its fields in order: equal margins are told apart by the id.
    which = "min" if order == "ASC" else "max"
    rows = connection.execute(
        f"""WITH measured AS (SELECT {identity} AS id, [{listed}] AS margins, [{names}] AS names FROM ({relation})),
            least AS (
                SELECT id, list_min(margins) AS margin,
                    CASE WHEN list_min(margins) IS NULL THEN names[-1]
                        ELSE names[list_position(margins, list_min(margins))] END AS nearest
                FROM measured
            )
            SELECT nearest,
                {which}({{margin: coalesce(margin, -1e300), id: id}}, {LISTED}) AS first
            FROM least WHERE nearest IS NOT NULL GROUP BY nearest"""  # noqa: S608 - our own names and numbers
    ).fetchall()
    found = [_ranked(nearest, one) for nearest, first in rows for one in first]
    return sorted(found, key=lambda one: _key(one, which == "min"))


def _ranked(nearest: str, found: Mapping[str, Any]) -> Ranked:
    margin = float(found["margin"])
    return Ranked(found["id"], nearest, None if margin <= -1e299 else margin)


def _key(one: Ranked, is_worst: bool) -> tuple[float, float, str]:
    if one.margin is None:
        # Then the name is a reason's; what was set aside for a person is nearer than what does not decode.
        outcome = {str(reason): outcome for reason, outcome in OUTCOME_OF.items()}.get(one.nearest, "errored")
        return 1 + OUTCOMES_BY_DISTANCE.index(outcome), 0.0, one.utterance_id
    return 0, one.margin if is_worst else -one.margin, one.utterance_id


def _spread(ranked: Sequence[Ranked], is_worst: bool) -> list[Ranked]:
    """The first ten, of which one limit gives no more than three as long as others have some."""
    taken: list[Ranked] = []
    left: list[Ranked] = []
    for one in ranked:
        of_same = sum(other.nearest == one.nearest for other in taken)
        (taken if of_same < MOST_OF_ONE else left).append(one)
    chosen = [*taken[:LISTED], *left][:LISTED]
    return sorted(chosen, key=lambda one: _key(one, is_worst))
