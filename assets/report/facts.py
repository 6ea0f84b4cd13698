"""What the tables say of one corpus, in sums: rows and hours by outcome, reason, split, language, voice and source.

Asked of DuckDB within a fixed memory. Hours are sums of whole microseconds, so that no order of adding shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from validation.batches import database, files_of, parquet
from validation.lake import Lake, MissingTableError
from validation.ledger import LEDGER_STAGES, ledger_partition
from validation.reasons import OUTCOME_OF

NAMELESS = ("", "unknown")  # what readers call a speaker that the corpus does not name
MOST_SPEAKERS = 20
MOST_GROUPS = 30  # lines of any other table
_US_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one kind.

    Attributes:
        read: All.
        accepted: Those that passed.
        decoded: Those whose sound was decoded.
        hours: Of those.
        accepted_hours: Of those that passed.
    """

    name: str
    read: int
    accepted: int
    decoded: int
    hours: float
    accepted_hours: float


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Rows that ended for one reason; ``example`` is the ledger's sentence about one of them."""

    outcome: str
    reason: str
    stages: str
    rows: int
    decoded: int
    hours: float
    example: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All sums of one corpus.

    Attributes:
        total: Of all rows.
        outcomes: By outcome, as counts named after it.
        splits: By split; rows that ended while the corpus was read have none, and are named ``""``.
        speakers: The named voices with the most accepted hours.
        other_speakers: The other named ones together; ``None`` where there are none.
        unnamed: Rows whose voice the corpus does not name.
        voices: How many voices are named, and how many of them have accepted rows.
    """

    total: Count
    outcomes: tuple[Count, ...]
    reasons: tuple[ReasonCount, ...]
    splits: tuple[Count, ...]
    languages: tuple[Count, ...]
    speakers: tuple[Count, ...]
    other_speakers: Count | None
    unnamed: Count | None
    voices: tuple[int, int]
    licences: tuple[Count, ...]
    sources: tuple[Count, ...]


@contextmanager
def corpus_database(lake: Lake, corpus: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with views of the corpus: ``utterances`` (read), ``quality``, ``stored``, ``accepted``, ``ended``.

    Raises:
        MissingTableError: if a step of the corpus has not been done.
    """
    with database(lake) as connection:
        views = {
            "utterances": files_of(lake, "raw_utterances", [corpus]),
            "stored": files_of(lake, "audio_22k", [corpus]),
            "quality": files_of(lake, "audio_quality", [corpus]),
            "accepted": files_of(lake, "accepted_utterances", [corpus]),
            "ended": parquet(lake, ledger_paths(lake, corpus)),
        }
        for view, files in views.items():
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {files}")  # noqa: S608 - paths are quoted
        yield connection


def ledger_paths(lake: Lake, corpus: str) -> list[str]:
    """The files of the corpus' ledger.

    Raises:
        MissingTableError: if there is none.
    """
    names = [ledger_partition(corpus, stage) for stage in LEDGER_STAGES]
    paths = [lake.table_path("ledger", name) for name in names if lake.has_table("ledger", name)]
    if not paths:
        raise MissingTableError(f"table ledger has no part of corpus {corpus!r} in {lake.url}")
    return paths


def read_facts(connection: duckdb.DuckDBPyConnection) -> Facts:
    """The corpus' sums.

    Args:
        connection: From :func:`corpus_database`.
    """
    # A row that ended while the corpus was read may have the id of another: that is what duplicate_id says.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE facts AS
        SELECT u.split, u.language, u.speaker, u.licence, e.outcome, e.reason, e.stage,
            count(*)::BIGINT AS rows, count(q.utterance_id)::BIGINT AS decoded,
            coalesce(sum(round(q.duration_s * 1e6)::BIGINT), 0)::BIGINT AS us
        FROM utterances u
            LEFT JOIN (SELECT utterance_id, outcome, reason, stage FROM ended WHERE stage <> 'raw_utterances') e
                USING (utterance_id)
            LEFT JOIN (SELECT utterance_id, duration_s FROM quality) q USING (utterance_id)
        GROUP BY ALL
        UNION ALL
        SELECT '', NULL, NULL, NULL, outcome, reason, stage, count(*)::BIGINT, 0, 0
        FROM ended WHERE stage = 'raw_utterances' GROUP BY ALL"""
    )
    total = _counts(connection, "'all'", "TRUE")
    named = f"speaker NOT IN {NAMELESS}"
    speakers = _counts(connection, "speaker", named, MOST_SPEAKERS)
    voices = connection.execute(
        f"""SELECT count(DISTINCT speaker), count(DISTINCT speaker) FILTER (outcome = 'accepted')
            FROM facts WHERE {named}"""  # noqa: S608 - our own names
    ).fetchall()[0]
    all_named = _counts(connection, "'named'", named)
    unnamed = _counts(connection, "'unnamed'", f"speaker IN {NAMELESS}")
    return Facts(
        total=total[0] if total else Count("all", 0, 0, 0, 0.0, 0.0),
        outcomes=tuple(_counts(connection, "outcome", "outcome IS NOT NULL")),
        reasons=tuple(_reasons(connection)),
        splits=tuple(
            sorted(_counts(connection, "split", "TRUE"), key=lambda one: (one.name == "", one.name))
        ),
        languages=tuple(_counts(connection, "language", "language IS NOT NULL", MOST_GROUPS)),
        speakers=tuple(speakers),
        other_speakers=_rest(all_named[0], speakers) if all_named else None,
        unnamed=unnamed[0] if unnamed else None,
        voices=(int(voices[0]), int(voices[1])),
        licences=tuple(_counts(connection, "licence", "licence IS NOT NULL", MOST_GROUPS)),
        sources=tuple(_sources(connection)),
    )


def hours(microseconds: float) -> float:
    """Hours of so many microseconds."""
    return microseconds / _US_PER_HOUR


def _counts(
    connection: duckdb.DuckDBPyConnection, key: str, condition: str, most: int | None = None
) -> list[Count]:
    """Rows by ``key``, those with the most accepted hours first."""
    is_accepted = "FILTER (outcome = 'accepted')"
    rows = connection.execute(
        f"""SELECT {key} AS name, sum(rows), coalesce(sum(rows) {is_accepted}, 0), sum(decoded), sum(us),
                coalesce(sum(us) {is_accepted}, 0) AS passed
            FROM facts WHERE {condition} GROUP BY 1 ORDER BY passed DESC, 3 DESC, 2 DESC, 1
            {"" if most is None else f"LIMIT {most}"}"""  # noqa: S608 - our own names
    ).fetchall()
    return [_count(*row) for row in rows]


def _count(name: Any, read: Any, accepted: Any, decoded: Any, us: Any, accepted_us: Any) -> Count:
    return Count(str(name), int(read), int(accepted), int(decoded), hours(int(us)), hours(int(accepted_us)))


def _rest(whole: Count, shown: Sequence[Count]) -> Count | None:
    read = whole.read - sum(one.read for one in shown)
    if not read:
        return None
    return Count(
        "rest",
        read,
        whole.accepted - sum(one.accepted for one in shown),
        whole.decoded - sum(one.decoded for one in shown),
        whole.hours - sum(one.hours for one in shown),
        whole.accepted_hours - sum(one.accepted_hours for one in shown),
    )


def _reasons(connection: duckdb.DuckDBPyConnection) -> Iterator[ReasonCount]:
    """In the order of the outcomes, within one the most frequent first."""
    rows = connection.execute(
        """WITH examples AS (SELECT reason, min(detail) AS example FROM ended GROUP BY reason)
           SELECT outcome, reason, string_agg(DISTINCT stage, ', ' ORDER BY stage), sum(rows), sum(decoded),
               sum(us), any_value(example)
           FROM facts JOIN examples USING (reason) GROUP BY outcome, reason"""
    ).fetchall()
    order: list[str] = list(dict.fromkeys(OUTCOME_OF.values()))
    found = [
        ReasonCount(outcome, reason, stages, int(read), int(decoded), hours(int(us)), example)
        for outcome, reason, stages, read, decoded, us, example in rows
    ]
    yield from sorted(found, key=lambda one: (order.index(one.outcome), -one.rows, one.reason))


def _sources(connection: duckdb.DuckDBPyConnection) -> list[Count]:
    rows = connection.execute(
        f"""SELECT s.source_format || ', ' || s.source_rate_hz || ' Hz, ' || s.source_channels
                || CASE s.source_channels WHEN 1 THEN ' channel' ELSE ' channels' END AS name,
            count(*), count(*) FILTER (e.outcome = 'accepted'), count(*),
            sum(round(s.duration_s * 1e6)::BIGINT) AS us,
            coalesce(sum(round(s.duration_s * 1e6)::BIGINT) FILTER (e.outcome = 'accepted'), 0)
        FROM stored s LEFT JOIN (SELECT utterance_id, outcome FROM ended WHERE stage <> 'raw_utterances') e
            USING (utterance_id)
        GROUP BY ALL ORDER BY us DESC, name LIMIT {MOST_GROUPS}"""  # noqa: S608 - our own names
    ).fetchall()
    return [_count(*row) for row in rows]
