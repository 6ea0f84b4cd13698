"""Held-out rows of today that a registered version was trained on, because a corpus was split otherwise then.

Read from what its stages left (see :mod:`training_jobs.trained_on`): a row counts as seen if the packs name it, or one
of its recordings.
"""

# ruff: noqa: S608 - statements are made of our own names and quoted paths
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training_jobs.jobs import read_result
from training_jobs.lineage import json_file
from training_jobs.plan import SAMPLES_FILE
from training_jobs.trained_on import beside, packs_of, stages_of
from validation.batches import database, files_of, quoted_path
from validation.lake import Lake


def stage_output_of(registrations: Path, version: str) -> Path | None:
    """Where the stage that made a version lies, by the home's registrations; ``None`` if none of them made it.

    Args:
        registrations: directory of the outputs of ``registered_model``.
    """
    for path in sorted(registrations.glob("*")):
        result, job = read_result(path), json_file(path / "job.json")
        if result is not None and str(result.get("version")) == version and "model_dir" in job:
            return beside(path, Path(job["model_dir"]).parent)
    return None


def seen_rows(stage_output: Path | None, lake: Lake, corpora: Sequence[str]) -> set[tuple[str, str]] | None:
    """Corpus and id of the held-out rows that this checkpoint was trained on; ``None`` where that is not on record."""
    if stage_output is None:
        return None
    stages = stages_of(stage_output)
    packs = packs_of(stages) if stages else []
    samples = [pack / SAMPLES_FILE for pack in packs]
    if not samples or not all(path.is_file() for path in samples):
        return None
    packed = f"read_parquet([{', '.join(quoted_path(str(path)) for path in samples)}])"
    statement = f"""WITH held_out AS (
            SELECT corpus, row_id, audio_digests FROM {files_of(lake, "training_rows", corpora)} WHERE split = 'test'),
        named AS (SELECT DISTINCT corpus, regexp_replace(row_id, '~[0-9]+$', '') AS row_id FROM {packed}),
        heard AS (SELECT DISTINCT unnest(audio_digests) AS digest FROM {packed})
        SELECT corpus, row_id FROM held_out SEMI JOIN named USING (corpus, row_id)
        UNION
        SELECT corpus, row_id FROM (SELECT corpus, row_id, unnest(audio_digests) AS digest FROM held_out)
            SEMI JOIN heard USING (digest)"""
    with database(lake) as connection:
        return {(str(corpus), str(row)) for corpus, row in connection.execute(statement).fetchall()}
