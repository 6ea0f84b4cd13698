"""Which packs, checkpoints, evaluations and registered versions a training row went into: read from what they left.

A stage's ``job.json`` names its packs and the model that it started from; ``samples.parquet`` of a pack names its rows.
What a pack no longer names, because it was forgotten, its ``forgotten.json`` says by the request.
"""

# ruff: noqa: S608 - statements are made of our own names and quoted paths
from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from training_jobs.jobs import RESULT_FILE, read_result
from training_jobs.plan import (
    PLAN_FILE,
    RECORDINGS_FILE,
    SAMPLE_LEDGER_FILE,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
)
from training_jobs.spec import STAGES
from validation.atomic import replacing, write_text
from validation.batches import batches_of, quoted, quoted_path

FORGOTTEN_FILE = "forgotten.json"
ROWS_FILE = "rows.parquet"  # of an evaluation: texts and answers
ROW_FILES = (ROWS_FILE, "slices.parquet")  # the latter has figures of single speakers


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that holds selected rows.

    Attributes:
        rows: Numbers of its packed rows that hold one.
        names: ``corpus/row_id`` of the training rows.
        shared: Training rows of others in it with the very same audio.
        left_out: Selected training rows that its ledger names, and that are not in it.
    """

    path: Path
    rows: tuple[int, ...]
    names: tuple[str, ...]
    shared: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was trained, directly or by what it started from, on a selected row, or evaluated with one.

    Attributes:
        run_id: Of MLflow.
        versions: Of the registered model.
    """

    path: Path
    stage: str
    because: str
    run_id: str | None
    versions: tuple[str, ...] = ()


@dataclass
class Lineage:
    """Everything below a home's ``training/`` that a selected row went into."""

    packs: list[Pack] = field(default_factory=list)
    tokenizers: list[Checkpoint] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    evaluations: list[Checkpoint] = field(default_factory=list)
    # What an earlier version left without saying which rows are in it.
    untold: list[Path] = field(default_factory=list)


def trace(connection: duckdb.DuckDBPyConnection, training: Path, request: str, selector: str) -> Lineage:
    """Follow the selected rows through what was trained.

    Args:
        connection: With the tables of :func:`validation.forget.select`.
        training: ``<home>/training``.
        request: Of the selector; packs of which it has been forgotten say so.
        selector: SQL's condition over ``samples.parquet`` for rows that the lake no longer has; ``false``: none.
    """
    lineage = Lineage()
    for profile in sorted(path for path in training.glob("*") if path.is_dir()):
        packs: dict[str, str] = {}
        for path in _outputs(profile, "stage_packs"):
            if (path / SAMPLES_FILE).is_file():
                pack = _pack(connection, path, selector)
                if pack.rows or pack.shared or pack.left_out:
                    lineage.packs.append(pack)
                if pack.rows or request in forgotten_of(path):
                    packs[path.name] = f"pack {path.name}"
            elif (path / PLAN_FILE).is_file():
                lineage.untold.append(path)
        lineage.tokenizers += list(_tokenizers(connection, profile, request))
        lineage.checkpoints += list(_checkpoints(profile, packs))
        for path in _outputs(profile, "evaluation_report"):
            if (path / ROWS_FILE).is_file() and _holds(connection, path / ROWS_FILE):
                run_id = (read_result(path) or {}).get("run_id")
                because = f"{ROWS_FILE} has its texts"
                lineage.evaluations.append(Checkpoint(path, "evaluation_report", because, run_id))
    return lineage


def forgotten_of(path: Path) -> list[str]:
    """The requests that have been forgotten from an output."""
    place = path / FORGOTTEN_FILE
    if not place.is_file():
        return []
    requests: list[str] = json.loads(place.read_text(encoding="utf-8"))
    return requests


def forget_from(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, request: str, selector: str
) -> Iterator[Path]:
    """Remove the selected rows from packs and evaluations; gives each directory that was changed.

    Of a pack the list of the other rows stays: which checkpoint saw them is to be known later on, too. Its arrays go,
    and its result, so that no stage takes it for whole; so it is with a pack that only says that it left them out.
    Weights are left alone.
    """
    for pack in lineage.packs:
        if not pack.rows and not pack.left_out:
            continue
        if pack.rows:
            # First of all: from here on the pack says that it had them, however this ends.
            requests = sorted({*forgotten_of(pack.path), request})
            write_text(pack.path / FORGOTTEN_FILE, json.dumps(requests))
        (pack.path / RESULT_FILE).unlink(missing_ok=True)  # before what it says is whole
        for path in pack.path.iterdir():
            if path.name not in (FORGOTTEN_FILE, SAMPLES_FILE, "job.json"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        samples = pack.path / SAMPLES_FILE
        _rewrite(connection, samples, _sample_condition(samples, selector), SAMPLES_SCHEMA)
        yield pack.path
    for tokenizer in lineage.tokenizers:
        requests = sorted({*forgotten_of(tokenizer.path), request})
        write_text(tokenizer.path / FORGOTTEN_FILE, json.dumps(requests))
        heard = "audio_digest IN (SELECT audio_digest FROM gone_audio)"
        if (tokenizer.path / RECORDINGS_FILE).is_file():
            _rewrite(connection, tokenizer.path / RECORDINGS_FILE, heard, {"audio_digest": pl.String})
    for evaluation in lineage.evaluations:
        for name in (RESULT_FILE, "log.txt", *ROW_FILES):
            (evaluation.path / name).unlink(missing_ok=True)
        yield evaluation.path


def tag_forgotten(lineage: Lineage, request: str, tag: Callable[[str, str], None]) -> None:
    """Tag the runs and versions of the checkpoints.

    Args:
        tag: Takes ``run`` or ``version``, and its id.
    """
    for checkpoint in (*lineage.tokenizers, *lineage.checkpoints):
        if checkpoint.run_id is not None:
            tag("run", checkpoint.run_id)
        for version in checkpoint.versions:
            tag("version", version)


def _outputs(profile: Path, asset: str) -> list[Path]:
    return sorted(path for path in (profile / asset).glob("*") if path.is_dir())


def _sample_condition(path: Path, selector: str) -> str:
    samples = f"read_parquet({quoted_path(str(path))})"
    made_of = f"SELECT corpus, row_id, unnest(utterance_ids) AS utterance_id FROM {samples}"
    chosen = f"SELECT (corpus, row_id) FROM ({made_of}) SEMI JOIN selected USING (corpus, utterance_id)"
    noisy = "(corpus, row_id) IN (SELECT (corpus, row_id) FROM noisy)"
    return f"coalesce((corpus, row_id) IN ({chosen}) OR {noisy} OR {selector}, false)"


def _pack(connection: duckdb.DuckDBPyConnection, directory: Path, selector: str) -> Pack:
    path = directory / SAMPLES_FILE
    rows = f"SELECT row, corpus || '/' || row_id FROM read_parquet({quoted_path(str(path))}) WHERE"
    chosen = _sample_condition(path, selector)
    held, names = _two(connection, f"{rows} {chosen} ORDER BY ALL")
    shares = "coalesce(list_has_any(audio_digests, (SELECT list(DISTINCT audio_digest) FROM sharing)), false)"
    _, shared = _two(connection, f"{rows} {shares} AND NOT {chosen} ORDER BY ALL")
    return Pack(
        directory,
        tuple(dict.fromkeys(held)),
        tuple(dict.fromkeys(names)),
        tuple(dict.fromkeys(shared)),
        _left_out(connection, directory / SAMPLE_LEDGER_FILE),
    )


def _left_out(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    unused = f"SELECT * FROM read_parquet({quoted_path(str(path))}) WHERE draws = 0"
    made_of = f"SELECT corpus, row_id, unnest(utterance_ids) AS utterance_id FROM ({unused})"
    named = f"""SELECT DISTINCT corpus || '/' || row_id AS name FROM ({made_of})
        SEMI JOIN selected USING (corpus, utterance_id) ORDER BY name"""
    return tuple(str(name) for (name,) in connection.execute(named).fetchall())


def _two(connection: duckdb.DuckDBPyConnection, statement: str) -> tuple[list[int], list[str]]:
    found = connection.execute(statement).fetchall()
    return [int(row) for row, _ in found], [str(name) for _, name in found]


def _tokenizers(connection: duckdb.DuckDBPyConnection, profile: Path, request: str) -> Iterator[Checkpoint]:
    for path in _outputs(profile, "speech_tokenizer"):
        if request in forgotten_of(path):
            yield Checkpoint(path, "speech_tokenizer", "was trained from it", None)
        elif (path / RECORDINGS_FILE).is_file():
            recordings = f"read_parquet({quoted_path(str(path / RECORDINGS_FILE))})"
            heard = f"SELECT count(*) FROM {recordings} SEMI JOIN selected USING (audio_digest)"
            ((count,),) = connection.execute(heard).fetchall()
            if count:
                yield Checkpoint(
                    path, "speech_tokenizer", f"was trained from {count} of its recordings", None
                )


def _checkpoints(profile: Path, packs: dict[str, str]) -> Iterator[Checkpoint]:
    """The stages' outputs, in the order in which they start from one another."""
    saw: dict[str, str] = {}  # "stage/directory" to why
    versions = _versions(profile)
    for stage in STAGES:
        for path in _outputs(profile, stage):
            job = json_file(path / "job.json")
            packed = Path(job.get("packs_dir", "")).name
            started = "/".join(Path(job.get("start_dir", "")).parts[-3:-1])
            because = packs.get(packed) or (f"started from {started}" if started in saw else "")
            if because:
                key = f"{stage}/{path.name}"
                saw[key] = because
                run_id = (read_result(path) or {}).get("mlflow_run_id")
                yield Checkpoint(path, stage, because, run_id, tuple(versions.get(key, ())))


def _versions(profile: Path) -> dict[str, list[str]]:
    """The registered versions of each checkpoint, by "stage/directory"."""
    versions: dict[str, list[str]] = {}
    for path in _outputs(profile, "registered_model"):
        job, result = json_file(path / "job.json"), read_result(path)
        if result is not None and "model_dir" in job:
            key = "/".join(Path(job["model_dir"]).parts[-3:-1])
            versions.setdefault(key, []).append(str(result["version"]))
    return versions


def _holds(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether an evaluation's rows name a selected one."""
    rows = f"read_parquet({quoted_path(str(path))})"
    # A row's id begins with that of its utterance: <id>:asr, or is that of its conversation.
    ((count,),) = connection.execute(
        f"""SELECT count(*) FROM {rows} AS rows WHERE EXISTS (SELECT 1 FROM selected WHERE selected.corpus = rows.corpus
        AND (rows.row_id IN (selected.utterance_id || ':asr', selected.utterance_id || ':tts', selected.utterance_id)
            OR rows.row_id = selected.conversation_id))"""
    ).fetchall()
    return bool(count)


def _rewrite(
    connection: duckdb.DuckDBPyConnection, path: Path, condition: str, schema: dict[str, Any]
) -> None:
    arrow = pl.DataFrame(schema=schema).to_arrow().schema
    numbered = f"read_parquet({quoted_path(str(path))}, file_row_number = true)"
    left = f"SELECT {', '.join(schema)} FROM {numbered} WHERE NOT {condition} ORDER BY file_row_number"
    with replacing(path) as temporary, pq.ParquetWriter(temporary, arrow, compression="zstd") as writer:
        for batch in batches_of(connection, left):
            writer.write_table(batch.to_arrow().cast(arrow))


def json_file(path: Path) -> dict[str, Any]:
    """What a program has written there; empty where it has not."""
    if not path.is_file():
        return {}
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def sample_selector(kind: str, value: str, corpus: str | None) -> str:
    """SQL's condition over ``samples.parquet`` for what a pack itself says of its rows: speaker or licence."""
    column = {"speaker": "speakers", "licence": "licences"}.get(kind)
    if column is None:
        return "false"
    scope = "" if corpus is None else f" AND corpus = {quoted(corpus)}"
    return f"(list_contains({column}, {quoted(value)}){scope})"
