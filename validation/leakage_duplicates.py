"""Rows that repeat another, within a corpus and across: the same samples, the same recording, the same words.

Nothing is refused for it: a corpus may well say a thing twice. Without the rows of the table ``duplicates``, one of
each is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import polars as pl

from validation.batches import batches_of, database, write_batches
from validation.digests import digest_value
from validation.fingerprint import FINGERPRINT_RECIPE
from validation.lake import Lake
from validation.leakage_copies import copies_within
from validation.leakage_rows import KEY_OF, create_rows
from validation.steps import StepOutcome, run_step, table_digest

STEP = "duplicates"
PARTITION = "all"
_RECIPE = 2


def find_duplicates(lake: Lake, corpora: Sequence[str]) -> StepOutcome:
    """Write the table ``duplicates``: each row that repeats an earlier one, with the first that it repeats.

    Earlier is by the order of ``corpora``, then by id. Near-duplicates are those that are not exact ones. To stay
    within minutes for a million clips, their index holds no flipped bits here: of clips that a coder changed, one of
    fourteen is missed (nearly all of them under half a second), against one of forty in the leakage gate.

    Raises:
        validation.lake.MissingTableError: if a corpus lacks ``accepted_utterances`` or ``audio_fingerprints``.
    """
    inputs = digest_value(
        {
            "recipe": [_RECIPE, FINGERPRINT_RECIPE],
            "accepted": [[corpus, table_digest(lake, "accepted_utterances", corpus)] for corpus in corpora],
            "fingerprints": [lake.read_manifest("audio_fingerprints", corpus) for corpus in corpora],
        }
    )

    def compute() -> dict[str, Any]:
        with database(lake) as connection:
            create_rows(connection, lake, corpora, {})
            order = pl.DataFrame({"corpus": list(corpora), "place": range(len(corpora))})
            connection.register("places", order.to_arrow())
            figures: dict[str, int] = {}
            batches = _duplicates(connection, lake, corpora, figures)
            rows = write_batches(lake, "duplicates", PARTITION, batches)
        return {"rows": rows, "kinds": figures}

    return run_step(lake, STEP, PARTITION, inputs, [lake.table_path("duplicates", PARTITION)], compute)


def _duplicates(
    connection: duckdb.DuckDBPyConnection, lake: Lake, corpora: Sequence[str], figures: dict[str, int]
) -> Iterator[pl.DataFrame]:
    connection.register("copies", copies_within(connection, lake, corpora).to_arrow())
    statements = {"audio": _same("audio"), "near_audio": _SAME_RECORDING, "text": _same("text")}
    for kind, statement in statements.items():
        figures[kind] = 0
        for batch in batches_of(connection, statement):
            figures[kind] += batch.height
            yield batch


_COLUMNS = """r.corpus, r.utterance_id, r.source, r.split, f.corpus AS of_corpus, f.utterance_id AS of_utterance_id,
    f.source AS of_source, f.split AS of_split"""
_FIRST = "struct_pack(place := place, utterance_id := utterance_id, corpus := corpus, source := source, split := split)"


def _same(rule: str) -> str:
    key, defined = KEY_OF[rule]
    return f"""
        WITH repeated AS (SELECT {key} AS key FROM utterances WHERE {defined} GROUP BY ALL HAVING count(*) > 1),
            r AS (SELECT * FROM (SELECT *, {key} AS key FROM utterances WHERE {defined})
                SEMI JOIN repeated USING (key) JOIN places USING (corpus)),
            g AS (SELECT key, min({_FIRST}) AS f FROM r GROUP BY key)
        SELECT '{rule}' AS kind, {_COLUMNS}, 0.0::DOUBLE AS value, 0.0::DOUBLE AS "limit"
        FROM r JOIN g USING (key) WHERE (r.corpus, r.utterance_id) <> (f.corpus, f.utterance_id)
        ORDER BY r.place, r.utterance_id"""  # noqa: S608 - nothing in it comes from outside


# Which of a pair's recordings is in the earlier row, their rows say: of two that repeat each other, none would be left.
_SAME_RECORDING = f"""
    WITH c AS (
        SELECT digest, of_digest, correlation, "limit" FROM copies
        UNION ALL SELECT of_digest, digest, correlation, "limit" FROM copies
    ), f AS (
        SELECT audio_digest, unnest(min({_FIRST})) FROM utterances JOIN places USING (corpus)
        WHERE audio_digest IN (SELECT of_digest FROM c) GROUP BY audio_digest
    )
    SELECT 'near_audio' AS kind, {_COLUMNS}, c.correlation AS value, c."limit"
    FROM c JOIN f ON f.audio_digest = c.of_digest JOIN utterances r ON r.audio_digest = c.digest
        JOIN places p ON p.corpus = r.corpus
    WHERE (f.place, f.utterance_id) < (p.place, r.utterance_id)
    QUALIFY row_number() OVER (PARTITION BY r.corpus, r.utterance_id
        ORDER BY c.correlation DESC, f.place, f.utterance_id) = 1
    ORDER BY p.place, r.utterance_id"""  # noqa: S608 - nothing in it comes from outside
