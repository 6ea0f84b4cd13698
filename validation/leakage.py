"""The leakage gate: training rows that share audio, words or a voice with a declared evaluation set are refused.

The table ``leakage`` has one partition per evaluation set, and ``mixtures`` for mixture files. Memory does not grow
with the corpora: DuckDB joins within a fixed memory, fingerprints are streamed past an index over part of the set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import duckdb
import polars as pl

from validation.batches import batches_of, database, frame_of, parquet, write_batches
from validation.digests import digest_bytes, digest_value
from validation.fingerprint import FINGERPRINT_RECIPE
from validation.lake import Lake
from validation.leakage_copies import copies_of
from validation.leakage_mixture import mixture_findings
from validation.leakage_rows import EXACT_RULES, create_rows, create_set, shared, shared_recordings
from validation.leakage_rules import MIXTURES, Evaluation, EvaluationSet
from validation.steps import StepOutcome, run_step, table_digest

STEP = "leakage"
_RECIPE = 1
_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found.

    Attributes:
        blocked: Findings (training row and rule) that refuse the training data.
        counts: Findings by set, rule, action and corpus.
        examples: The first blocking findings, for a person.
    """

    blocked: int
    counts: list[dict[str, Any]]
    examples: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing blocks."""
        return self.blocked == 0


def check_leakage(
    lake: Lake,
    evaluation: Evaluation,
    corpora: Sequence[str],
    held_out_speakers: Mapping[str, Collection[str]],
) -> StepOutcome:
    """Write the table ``leakage``; :func:`verdict` says what it means.

    Args:
        corpora: Those of the corpora file, in its order.
        held_out_speakers: By corpus, the speakers that a split rule keeps out of training.

    Raises:
        validation.errors.ConfigurationError: if a mixture file is none.
        validation.lake.MissingTableError: if a corpus lacks ``accepted_utterances`` or ``audio_fingerprints``.
    """
    inputs = digest_value(
        {
            "recipe": [_RECIPE, FINGERPRINT_RECIPE],
            "evaluation": evaluation.model_dump(mode="json"),
            "mixtures": [digest_bytes(path.read_bytes()) for path in evaluation.mixtures if path.is_file()],
            "speakers": {corpus: sorted(names) for corpus, names in held_out_speakers.items()},
            "accepted": [[corpus, table_digest(lake, "accepted_utterances", corpus)] for corpus in corpora],
            "fingerprints": [lake.read_manifest("audio_fingerprints", corpus) for corpus in corpora],
        }
    )
    names = [*(one.name for one in evaluation.sets), MIXTURES]
    outputs = [lake.table_path("leakage", name) for name in names]

    def compute() -> dict[str, Any]:
        summary: dict[str, Any] = {}
        with database(lake) as connection:
            create_rows(connection, lake, corpora, held_out_speakers)
            for one in evaluation.sets:
                create_set(connection, one)
                figures: dict[str, Any] = {}
                batches = _findings(connection, lake, corpora, one, figures)
                figures["findings"] = write_batches(lake, "leakage", one.name, batches)
                summary[one.name] = figures
        found = mixture_findings(evaluation.mixtures)
        summary[MIXTURES] = {"findings": write_batches(lake, "leakage", MIXTURES, [found])}
        _remove_others(lake, names)
        return {"rows": sum(one["findings"] for one in summary.values()), "sets": summary}

    return run_step(lake, STEP, "all", inputs, outputs, compute)


def verdict(lake: Lake) -> Verdict:
    """What the table ``leakage`` says, as it was written last."""
    paths = lake.list_files("tables/leakage")
    with database(lake) as connection:
        connection.execute(f"CREATE VIEW leakage AS SELECT * FROM {parquet(lake, paths)}")  # noqa: S608 - quoted
        counted = frame_of(
            connection,
            "SELECT evaluation_set, rule, action, corpus, count(*) AS rows FROM leakage "
            "GROUP BY ALL ORDER BY action, evaluation_set, rule, corpus",
        )
        examples = connection.execute(
            "SELECT detail FROM leakage WHERE action = 'block' "
            "ORDER BY evaluation_set, rule, corpus, utterance_id LIMIT ?",
            [_EXAMPLES],
        ).fetchall()
    blocked = counted.filter(pl.col("action") == "block")["rows"].sum()
    return Verdict(int(blocked), counted.to_dicts(), [row[0] for row in examples])


def _findings(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    corpora: Sequence[str],
    one: EvaluationSet,
    figures: dict[str, Any],
) -> Iterator[pl.DataFrame]:
    """Batches of the set's findings; ``figures`` gets what a person should know beside them."""
    figures["evaluation_rows"] = _count(connection, "SELECT count(*) FROM evaluation")
    figures["training_rows"] = _count(connection, "SELECT count(*) FROM training")
    for rule in EXACT_RULES:
        action = getattr(one.rules, rule)
        if action != "ignore":
            yield from batches_of(connection, shared(one, rule, action))
    if one.rules.near_audio != "ignore":
        wanted = connection.execute(
            "SELECT DISTINCT audio_digest FROM evaluation WHERE audio_digest IS NOT NULL"
        ).fetchall()
        copies, too_short = copies_of(connection, lake, corpora, {row[0] for row in wanted})
        figures["audio_known_by_digest_only"] = too_short
        connection.register("copies", copies.to_arrow())
        yield from batches_of(connection, shared_recordings(one, one.rules.near_audio))
        connection.unregister("copies")


def _count(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    return int(connection.execute(statement).fetchall()[0][0])


def _remove_others(lake: Lake, names: list[str]) -> None:
    """Findings of sets that are declared no more."""
    for path in lake.list_files("tables/leakage"):
        name = PurePosixPath(path).stem
        if name not in names:
            lake.remove_table("leakage", name)
