"""Program ``pack``: one mixture of training rows to packed sequences.

Output: ``input_ids.npy`` and ``is_learnt.npy`` (rows x sequence length), ``row_tokens.npy`` and the sizes of samples,
``samples.parquet`` (which row holds which samples, and whose they are), ``sample_ledger.parquet`` (what became of every
training row, by name) and ``plan.json``: how full the rows are; for each source how many of its training rows were
drawn and how many were not; and what was drawn by the values of language, licence and whatever else the mixture asks
for. The mixture is drawn here, once, for the whole stage. The same data, seed and length give the same plan.

Samples and tokens pass through files below the output directory: in memory are a few dozen bytes per sample.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from models.quiet import quiet_transformers
from training_jobs.drawing import Drawing
from training_jobs.encoding import Encoder, PackError
from training_jobs.greedy import pack_greedily
from training_jobs.jobs import PackJob, write_result
from training_jobs.leveling import LEAST_FILL
from training_jobs.mixture import Mixture, named
from training_jobs.pack_files import write_arrays, write_sample_tokens, write_samples
from training_jobs.pack_tables import (
    drawn_markdown,
    entries_markdown,
    source_counts,
    sources_markdown,
    too_long_markdown,
)
from training_jobs.packing import pack_best_fit
from training_jobs.plan import write_plan
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.row_order import METHOD, RowOrder
from training_jobs.rows import vocabulary_of
from training_jobs.sample_ledger import LedgerNotes
from training_jobs.sample_spill import SampleSpill
from training_jobs.token_lookup import TokenLookup
from validation.allocators import give_back_now
from validation.augmentation.rows import rows_with_variants
from validation.batches import batches_of, database, files_of, frame_of
from validation.lake import Lake

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SELECTED = """corpus, row_id, task, messages, audio_digests, augmentation_digests, utterance_ids, speakers, licences,
    metadata, seconds, jsonl_path, line"""

_READ_FROM = "regexp_replace(source, ':[0-9]+$', '') AS read_from"  # without the line


def main() -> None:
    """``python -m training_jobs.pack JOB.json``."""
    with quiet_transformers():
        program_main(PackJob, run)


def run(job: PackJob, report: Reporter) -> None:
    """Encode, draw, pack and write; ``result.json`` has the figures.

    Raises:
        PackError: if an audio has no tokens of the tokenizer asked for, or nothing is left to pack.
        training_jobs.mixture.MixtureError: if an entry's conditions are met by no row, or it weighs none.
        training_jobs.rows.RowError: for a row that cannot be encoded, naming it.
    """
    started = time.monotonic()
    lake = Lake(job.lake)
    mixture = Mixture(job.mixture, job.corpora)
    drawing = Drawing(mixture)
    tokenizer, padding_id = _load_tokenizer(job.model_dir)
    with (
        _working_folder(job.output_dir) as folder,
        SampleSpill(folder) as spill,
        LedgerNotes(folder) as notes,
    ):
        with (
            database(lake) as connection,
            TokenLookup(lake, job.corpora, job.tokenizer_digest, folder) as tokens,
        ):
            _create_view(connection, lake, job.corpora, mixture)
            sources = _rows_of_sources(connection, mixture)
            encoder = Encoder(job, tokenizer, tokens, spill, notes, drawing)
            encoder.encode(connection, mixture)
            spill.close()
        give_back_now()  # what took part in encoding: the arrays of the rows come next
        _say_too_long(encoder, job, report)
        rng = np.random.default_rng(job.seed)
        drawn = drawing.draw(rng)
        if not len(drawn):
            raise PackError(
                f"nothing to pack: {encoder.rows} training rows of {job.corpora}, {encoder.too_long.total()} of "
                f"them too long for {job.sequence_length} tokens, none taken by the mixture "
                f"{[named(item) for item in job.mixture]}"
            )
        lengths, source = spill.lengths, drawing.array("source")
        packed = pack_best_fit(lengths[drawn], source[drawn], job.sequence_length, rng)
        members = drawn[packed.members]
        row_tokens = write_arrays(
            job.output_dir, spill, members, packed.starts, job.sequence_length, padding_id
        )
        tasks, task_of = drawing.tasks()
        write_sample_tokens(job.output_dir, packed.starts, lengths[members], task_of[source[members]])
        write_samples(job.output_dir, folder, members, packed.starts, lengths)
        ended = notes.settle(job.output_dir, drawn, len(lengths), job.sequence_length)
        greedy = _greedily(lengths, source, drawn, job)
    data_digest = encoder.digest()
    order = RowOrder(len(row_tokens), data_digest, job.seed, job.sequence_length)
    plan = _figures(job, row_tokens, len(drawn)) | {
        "data_digest": data_digest,
        "order": {"method": METHOD, "digest": order.digest()},
        "ended": ended,
        "tasks": tasks,
        "upstream_greedy": greedy,
        "sources": source_counts(sources, encoder.too_long, encoder.cut, drawing, lengths, drawn),
        "entries": drawing.by_entry(lengths, drawn),
        "drawn_by": {field: values.counts(lengths, drawn) for field, values in drawing.values.items()},
    }
    write_plan(job.output_dir, plan)
    seconds = round(time.monotonic() - started, 2)
    write_result(
        job.output_dir,
        plan
        | {
            "too_long_samples": encoder.too_long.total(),
            "cut_samples": encoder.cut.total(),
            "rows_not_drawn": sum(counts["not_drawn"] for counts in plan["sources"].values()),
            "sources_markdown": sources_markdown(plan["sources"]),
            "entries_markdown": entries_markdown(plan["entries"]),
            "drawn_by_markdown": drawn_markdown(plan["drawn_by"]),
            "too_long_markdown": too_long_markdown(encoder.named, job.sequence_length),
            "seconds": seconds,
        },
    )
    report.log(
        f"packed {len(drawn):,} samples ({plan['tokens']:,} tokens) into {len(packed):,} rows of "
        f"{job.sequence_length}, {plan['padding_share']:.2%} padding, the emptiest "
        f"{1 - plan['fill_min']:.2%}; {seconds:.0f} s"
    )


@contextmanager
def _working_folder(output_dir: Path) -> Iterator[Path]:
    """A folder for what passes through files; what a killed run left of it goes."""
    folder = output_dir / ".work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _create_view(
    connection: duckdb.DuckDBPyConnection, lake: Lake, corpora: Sequence[str], mixture: Mixture
) -> None:
    """``rows``: those of the training split, with the columns of the mixture's fields."""
    rows = rows_with_variants(lake, corpora)
    if mixture.has_files:
        # All utterances of a row stand in one line of its corpus.
        read = (
            f"SELECT corpus, utterance_id, {_READ_FROM} FROM {files_of(lake, 'accepted_utterances', corpora)}"  # noqa: S608
        )
        rows = f"""SELECT rows.*, read_from FROM ({rows}) AS rows LEFT JOIN ({read}) AS read
            ON rows.corpus = read.corpus AND rows.utterance_ids[1] = read.utterance_id"""  # noqa: S608 - our own names
    connection.execute(
        f"CREATE VIEW rows AS SELECT {_SELECTED}, {mixture.columns()} FROM ({rows}) WHERE split = 'train'"  # noqa: S608
    )


def _rows_of_sources(connection: duckdb.DuckDBPyConnection, mixture: Mixture) -> dict[tuple[str, str], int]:
    """Training rows of each source (corpus and task), once the mixture's conditions have been found to be met."""
    counts: dict[tuple[str, str], int] = {}
    met = np.zeros((2, len(mixture.items)), dtype=np.int64)
    fields = ", ".join(f'"{name}"' for name in mixture.column_names())
    for batch in batches_of(connection, f"SELECT corpus, task, {fields} FROM rows"):  # noqa: S608
        for corpus, task, count in batch.group_by("corpus", "task").len().iter_rows():
            counts[corpus, task] = counts.get((corpus, task), 0) + count
        of_batch = mixture.counts(batch)
        met += np.array([of_batch["rows"].to_list(), of_batch["met"].to_list()], dtype=np.int64)
    mixture.check(met[0].tolist(), met[1].tolist(), lambda: _metadata_keys(connection))
    return dict(sorted(counts.items()))


def _metadata_keys(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = frame_of(
        connection, "SELECT DISTINCT unnest(json_keys(metadata)) AS key FROM rows ORDER BY key LIMIT 100"
    )
    return found["key"].to_list()


def _say_too_long(encoder: Encoder, job: PackJob, report: Reporter) -> None:
    if encoder.named:
        named = ", ".join(f"{name} ({length})" for name, length in encoder.named.items())
        report.log(
            f"{encoder.too_long.total() + encoder.cut.total():,} samples are longer than a row of "
            f"{job.sequence_length} tokens, {encoder.cut.total():,} of them cut at a turn: {named}"
        )


def _load_tokenizer(model_dir: Path) -> tuple[PreTrainedTokenizerFast, int]:
    """The text tokenizer, and the id that fills the end of a row (it has no label, and nothing attends to it)."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(model_dir)
    padding_id = tokenizer.pad_token_id
    return tokenizer, padding_id if padding_id is not None else vocabulary_of(tokenizer).im_end


def _figures(job: PackJob, row_tokens: NDArray[np.int32], samples: int) -> dict[str, Any]:
    total, capacity = int(row_tokens.sum()), row_tokens.size * job.sequence_length
    return {
        "tokenizer_digest": job.tokenizer_digest,
        "seed": job.seed,
        "sequence_length": job.sequence_length,
        "ratio": list(job.ratio),
        "packed_rows": len(row_tokens),
        "samples": samples,
        "tokens": total,
        "padding_tokens": capacity - total,
        "padding_share": round(1 - total / capacity, 4),
        "fill_mean": round(total / capacity, 5),
        "fill_min": round(int(row_tokens.min()) / job.sequence_length, 5),
        "rows_below_99": int((row_tokens < LEAST_FILL * job.sequence_length).sum()),
    }


def _greedily(
    lengths: NDArray[np.int32], source: NDArray[np.int32], drawn: NDArray[np.int64], job: PackJob
) -> dict[str, Any]:
    """What upstream's scheme would make of the same samples, in random order and each source a file of its own."""
    order = np.random.default_rng(job.seed).permutation(drawn)
    samples = zip(lengths[order].data, source[order].data, strict=True)
    packed = pack_greedily(samples, job.sequence_length)
    return {
        "rows": packed.rows,
        "fill_mean": round(packed.fill(job.sequence_length), 5),
        "lost_tokens": packed.lost_tokens,
        "lost_samples": packed.lost_samples,
    }


if __name__ == "__main__":
    main()
