"""Program ``pack``: one mixture of training rows to packed sequences.

Output: ``input_ids.npy``, ``labels.npy``, ``position_ids.npy`` (int32, rows x sequence length) and ``plan.json``:
which row holds which samples, tokens per row, every sample that is too long for a row, by name, and for each source how
many of its training rows were drawn and how many were not: the mixture is drawn here, once, for the whole stage.
The same data, seed and length give the same plan.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from tqdm import tqdm

from models.checkpoints import quiet_transformers
from models.errors import ModelError
from training_jobs.jobs import PackJob, write_result
from training_jobs.packing import Sample, draw, fill_row, pack_best_fit
from training_jobs.plan import ARRAYS, PLAN_FILE, write_plan
from training_jobs.profile import MixtureItem
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.rows import RowError, encode_row, vocabulary_of
from validation.digests import digest_value
from validation.errors import ConfigurationError, UserError
from validation.lake import Lake

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_NAMED = 20  # over-long samples that a message names; plan.json has all


class PackError(UserError):
    """Rows that cannot be packed; names the row, and what is missing."""


def main() -> None:
    """``python -m training_jobs.pack JOB.json``."""
    with quiet_transformers():
        program_main(PackJob, run)


def run(job: PackJob, report: Reporter) -> None:
    """Encode, draw, pack and write; ``result.json`` has the figures.

    Raises:
        PackError: if an audio has no tokens of the tokenizer asked for, or nothing is left to pack.
        training_jobs.rows.RowError: for a row that cannot be encoded, naming it.
    """
    started = time.monotonic()
    lake = Lake(job.lake)
    every_row = _training_rows(lake, job.corpora)
    rows = _wanted(every_row, job.corpora, job.mixture)
    tokens = _tokens_by_digest(lake, job.corpora, job.tokenizer_digest)
    tokenizer, padding_id = _load_tokenizer(job.model_dir)
    samples = list(_encode(rows, tokens, job, tokenizer))
    fitting = [sample for sample in samples if len(sample) <= job.sequence_length]
    too_long = {sample.name: len(sample) for sample in samples if len(sample) > job.sequence_length}
    if too_long:
        named = ", ".join(f"{name} ({length})" for name, length in list(too_long.items())[:_NAMED])
        report.log(f"{len(too_long)} samples are longer than a row of {job.sequence_length} tokens: {named}")
    rng = np.random.default_rng(job.seed)
    drawn = _draw_mixture(fitting, job.mixture, rng)
    if not drawn:
        raise PackError(
            f"nothing to pack: {rows.height} training rows of {job.corpora}, {len(too_long)} of them too long for "
            f"{job.sequence_length} tokens, none taken by the mixture {[item.task for item in job.mixture]}"
        )
    lengths, sources = [len(sample) for sample in drawn], [sample.source for sample in drawn]
    packed = pack_best_fit(lengths, sources, job.sequence_length, rng)
    members = [[drawn[index] for index in row] for row in packed]
    _write_arrays(job.output_dir, members, job.sequence_length, padding_id)
    plan = _plan(job, rows, tokens, members, too_long)
    plan["sources"] = _sources(every_row, samples, members, job.sequence_length)
    write_plan(job.output_dir, plan)
    summary = {key: value for key, value in plan.items() if key not in ("rows", "row_tokens", "too_long")}
    seconds = round(time.monotonic() - started, 2)
    write_result(
        job.output_dir,
        summary
        | {
            "too_long_samples": len(too_long),
            "rows_not_drawn": sum(counts["not_drawn"] for counts in plan["sources"].values()),
            "sources_markdown": _sources_markdown(plan["sources"]),
            "too_long_markdown": _too_long_markdown(too_long, job.sequence_length),
            "seconds": seconds,
        },
    )
    report.log(
        f"packed {len(drawn):,} samples ({plan['tokens']:,} tokens) into {len(members):,} rows of "
        f"{job.sequence_length}, {plan['padding_share']:.1%} padding, {seconds:.0f} s"
    )


def _training_rows(lake: Lake, corpora: Sequence[str]) -> pl.DataFrame:
    """Rows of the training split, in an order that does not depend on the files'."""
    frames = [lake.read_table("training_rows", corpus) for corpus in corpora]
    return pl.concat(frames).filter(pl.col("split") == "train").sort("corpus", "row_id")


def _wanted(rows: pl.DataFrame, corpora: Sequence[str], mixture: Sequence[MixtureItem]) -> pl.DataFrame:
    """The rows that the mixture may take."""
    unknown = sorted({item.corpus for item in mixture if item.corpus is not None} - set(corpora))
    if unknown:
        raise ConfigurationError(f"the mixture names the corpora {unknown}; there are {sorted(corpora)}")
    wanted = [_source_of(row["corpus"], row["task"], mixture) for row in rows.iter_rows(named=True)]
    return rows.filter(pl.Series([item is not None for item in wanted], dtype=pl.Boolean))


def _source_of(corpus: str, task: str, mixture: Sequence[MixtureItem]) -> MixtureItem | None:
    """The entry that speaks for a source: the one that names its corpus, before the one for its task at large."""
    matching = [item for item in mixture if item.task == task and item.corpus in (None, corpus)]
    return max(matching, key=lambda item: item.corpus is not None, default=None)


def _tokens_by_digest(lake: Lake, corpora: Sequence[str], tokenizer_digest: str) -> dict[str, list[int]]:
    tokens: dict[str, list[int]] = {}
    for corpus in corpora:
        table = lake.read_table("audio_tokens", corpus).filter(pl.col("tokenizer_digest") == tokenizer_digest)
        tokens.update(zip(table["audio_digest"].to_list(), table["token_ids"].to_list(), strict=True))
    return tokens


def _encode(
    rows: pl.DataFrame, tokens: dict[str, list[int]], job: PackJob, tokenizer: PreTrainedTokenizerFast
) -> Iterator[Sample]:
    for row in tqdm(
        rows.iter_rows(named=True), total=rows.height, desc="encode", mininterval=2, unit=" rows"
    ):
        name = f"{row['corpus']}/{row['row_id']}"
        for marker, digest in enumerate(row["audio_digests"]):
            if digest not in tokens:
                utterance = row["utterance_ids"][marker]
                raise PackError(
                    f"row {name}: utterance {utterance!r} (audio {digest[:16]}) has no tokens of the audio tokenizer "
                    f"{job.tokenizer_digest[:16]}; materialise audio_tokens first"
                )
        audio = [tokens[digest] for digest in row["audio_digests"]]
        try:
            input_ids, labels = encode_row(json.loads(row["messages"]), audio, tokenizer, job.ratio)
        except (RowError, ModelError) as error:
            raise RowError(f"row {name} ({row['jsonl_path']}, line {row['line']}): {error}") from error
        source = (row["corpus"], row["task"])
        yield Sample(name, source, np.asarray(input_ids, dtype=np.int32), np.asarray(labels, dtype=np.int32))


def _draw_mixture(
    samples: Sequence[Sample], mixture: Sequence[MixtureItem], rng: np.random.Generator
) -> list[Sample]:
    drawn: list[Sample] = []
    for source in sorted({sample.source for sample in samples}):
        members = [sample for sample in samples if sample.source == source]
        item = _source_of(*source, mixture)
        assert item is not None, source
        drawn += [members[index] for index in draw(len(members), item.ratio, rng)]
    return drawn


def _load_tokenizer(model_dir: Path) -> tuple[PreTrainedTokenizerFast, int]:
    """The text tokenizer, and the id that fills the end of a row (it has no label, and nothing attends to it)."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(model_dir)
    padding_id = tokenizer.pad_token_id
    return tokenizer, padding_id if padding_id is not None else vocabulary_of(tokenizer).im_end


def _write_arrays(
    output_dir: Path, members: Sequence[Sequence[Sample]], sequence_length: int, padding_id: int
) -> None:
    """One ``.npy`` per array, written under temporary names through memory maps, so that no pack need fit in memory."""
    working = output_dir / ".arrays"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    shape = (len(members), sequence_length)
    arrays = [
        np.lib.format.open_memmap(working / f"{name}.npy", mode="w+", dtype=np.int32, shape=shape)
        for name in ARRAYS
    ]
    for number, samples in enumerate(members):
        row = fill_row(samples, sequence_length, padding_id)
        for array, values in zip(arrays, (row.input_ids_T, row.labels_T, row.position_ids_T), strict=True):
            array[number] = values
    for array, name in zip(arrays, ARRAYS, strict=True):
        array.flush()
        (working / f"{name}.npy").replace(output_dir / f"{name}.npy")
    working.rmdir()


def _plan(
    job: PackJob,
    rows: pl.DataFrame,
    tokens: dict[str, list[int]],
    members: Sequence[Sequence[Sample]],
    too_long: dict[str, int],
) -> dict[str, Any]:
    row_tokens = [sum(len(sample) for sample in row) for row in members]
    total, capacity = sum(row_tokens), len(members) * job.sequence_length
    content = rows.select("corpus", "row_id", "task", "messages", "audio_digests").to_dicts()
    return {
        "data_digest": digest_value(
            [[row, [tokens[digest] for digest in row["audio_digests"]]] for row in content]
        ),
        "tokenizer_digest": job.tokenizer_digest,
        "seed": job.seed,
        "sequence_length": job.sequence_length,
        "ratio": list(job.ratio),
        "packed_rows": len(members),
        "samples": sum(len(row) for row in members),
        "tokens": total,
        "padding_tokens": capacity - total,
        "padding_share": round(1 - total / capacity, 4),
        "rows": [[sample.name for sample in row] for row in members],
        "row_tokens": row_tokens,
        "too_long": too_long,
    }


def _sources(
    rows: pl.DataFrame, samples: Sequence[Sample], members: Sequence[Sequence[Sample]], sequence_length: int
) -> dict[str, dict[str, int]]:
    """For each source its training rows: too long, drawn (each once), not drawn; and the samples and tokens packed."""
    sources = {
        f"{corpus}/{task}": {
            "rows": count,
            "too_long": 0,
            "drawn": 0,
            "not_drawn": 0,
            "samples": 0,
            "tokens": 0,
        }
        for corpus, task, count in rows.group_by("corpus", "task").len().sort("corpus", "task").iter_rows()
    }
    for sample in samples:
        sources["/".join(sample.source)]["too_long"] += len(sample) > sequence_length
    drawn: set[str] = set()
    for sample in (sample for row in members for sample in row):
        counts = sources["/".join(sample.source)]
        counts["samples"] += 1
        counts["tokens"] += len(sample)
        counts["drawn"] += sample.name not in drawn
        drawn.add(sample.name)
    for counts in sources.values():
        counts["not_drawn"] = counts["rows"] - counts["too_long"] - counts["drawn"]
    return sources


def _sources_markdown(sources: dict[str, dict[str, int]]) -> str:
    columns = ("rows", "too_long", "drawn", "not_drawn", "samples", "tokens")
    lines = [f"| corpus/task | {' | '.join(name.replace('_', ' ') for name in columns)} |"]
    lines += [f"|---{'|---:' * len(columns)}|"]
    lines += [
        f"| {name} | {' | '.join(f'{counts[column]:,}' for column in columns)} |"
        for name, counts in sources.items()
    ]
    return "\n".join(lines)


def _too_long_markdown(too_long: dict[str, int], sequence_length: int) -> str:
    if not too_long:
        return f"none is longer than {sequence_length} tokens"
    lines = [f"left out, longer than {sequence_length} tokens (all in `{PLAN_FILE}`):", ""]
    lines += [f"- `{name}`: {length:,} tokens" for name, length in list(too_long.items())[:_NAMED]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
