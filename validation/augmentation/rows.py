"""Training rows together with their variants, as a statement of DuckDB."""

from __future__ import annotations

from collections.abc import Sequence

from validation.batches import files_of, parquet
from validation.lake import Lake


def rows_with_variants(lake: Lake, corpora: Sequence[str]) -> str:
    """Statement for all training rows of the corpora, and the variants of those of the training split.

    Columns are those of ``training_rows`` and ``augmentation_digests``, one per audio and empty where it is unchanged.
    A variant has its own ``row_id`` and ``seconds``, the noise's licence besides those of its original, and everything
    else from its original. Corpora without a table ``augmentations`` have no variants.

    Raises:
        validation.lake.MissingTableError: if a corpus has no training rows yet.
    """
    originals = files_of(lake, "training_rows", corpora)
    paths = [lake.table_path("augmentations", corpus) for corpus in corpora]
    present = [path for path in paths if lake.exists(path)]
    unchanged = (
        f"SELECT *, list_transform(audio_digests, lambda one: '') AS augmentation_digests FROM {originals}"  # noqa: S608
    )
    if not present:
        return unchanged
    return f"""{unchanged} UNION ALL BY NAME
        SELECT rows.* REPLACE (
                variant AS row_id, seconds + longer AS seconds,
                list_sort(list_distinct(list_concat(licences, coalesce(mixed_in, [])))) AS licences
            ),
            list_transform(range(len(audio_digests)), lambda place: coalesce(changes[place], ''))
                AS augmentation_digests
        FROM {originals} AS rows JOIN (
            SELECT corpus, original, row_id AS variant,
                map_from_entries(list({{'k': marker::BIGINT, 'v': augmentation_digest}})) AS changes,
                sum(duration_s - original_s) AS longer,
                list(augmentation ->> '$.noise.licence') FILTER (augmentation ->> '$.noise' IS NOT NULL) AS mixed_in
            FROM {parquet(lake, present)} GROUP BY ALL
        ) AS drawn ON rows.corpus = drawn.corpus AND rows.row_id = drawn.original
        WHERE rows.split = 'train'"""  # noqa: S608 - the paths are quoted
