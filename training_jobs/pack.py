"""Program ``pack``: one mixture of training rows to packed sequences.

Output: ``input_ids.npy``, ``labels.npy``, ``position_ids.npy`` (int32, rows x sequence length), ``row_tokens.npy``,
``samples.parquet`` (which row holds which samples, and whose they are) and ``plan.json``: every sample that is too long
for a row, by name; for each source how many of its training rows were drawn and how many were not; and what was drawn
by the values of language, licence and whatever else the mixture asks for. The mixture is drawn here, once, for the
whole stage. The same data, seed and length give the same plan.

Samples and tokens pass through files below the output directory: in memory are a few dozen bytes per sample.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from models.errors import ModelError
from models.quiet import quiet_transformers
from training_jobs.drawing import Drawing
from training_jobs.jobs import PackJob, write_result
from training_jobs.mixture import Mixture
from training_jobs.pack_files import write_arrays, write_samples
from training_jobs.pack_tables import drawn_markdown, source_counts, sources_markdown, too_long_markdown
from training_jobs.packing import pack_best_fit
from training_jobs.plan import write_plan
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.row_order import METHOD, RowOrder
from training_jobs.rows import RowError, encode_row, vocabulary_of
from training_jobs.sample_spill import SampleSpill
from training_jobs.token_lookup import TokenLookup
from validation.augmentation.rows import rows_with_variants
from validation.batches import batches_of, database, frame_of
from validation.errors import UserError
from validation.lake import Lake
from validation.ordering import in_order_of_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_NAMED = 20  # over-long samples that a message names; plan.json has all
_SELECTED = """corpus, row_id, task, messages, audio_digests, augmentation_digests, utterance_ids, speakers, licences,
    metadata, jsonl_path, line"""


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
        training_jobs.mixture.MixtureError: if an entry's conditions are met by no row, or it weighs none.
        training_jobs.rows.RowError: for a row that cannot be encoded, naming it.
    """
    started = time.monotonic()
    lake = Lake(job.lake)
    mixture = Mixture(job.mixture, job.corpora)
    drawing = Drawing(mixture)
    tokenizer, padding_id = _load_tokenizer(job.model_dir)
    with _working_folder(job.output_dir) as folder, database(lake) as connection:
        _create_view(connection, lake, job.corpora, mixture)
        sources = _rows_of_sources(connection, mixture)
        with (
            SampleSpill(folder) as spill,
            TokenLookup(lake, job.corpora, job.tokenizer_digest, folder) as tokens,
        ):
            encoder = _Encoder(job, tokenizer, tokens, spill, drawing)
            encoder.encode(connection, mixture)
            spill.close()
            _say_too_long(encoder.too_long, job, report)
            rng = np.random.default_rng(job.seed)
            drawn = drawing.draw(rng)
            if not len(drawn):
                raise PackError(
                    f"nothing to pack: {encoder.rows} training rows of {job.corpora}, {len(encoder.too_long)} of them "
                    f"too long for {job.sequence_length} tokens, none taken by the mixture "
                    f"{[item.task for item in job.mixture]}"
                )
            lengths, source = spill.lengths, drawing.array("source")
            packed = pack_best_fit(lengths[drawn], source[drawn], job.sequence_length, rng)
            members = drawn[packed.members]
            row_tokens = write_arrays(
                job.output_dir, spill, members, packed.starts, job.sequence_length, padding_id
            )
            write_samples(job.output_dir, folder, members, packed.starts, lengths)
    data_digest = encoder.digest()
    order = RowOrder(len(row_tokens), data_digest, job.seed, job.sequence_length)
    plan = _figures(job, row_tokens, len(drawn)) | {
        "data_digest": data_digest,
        "order": {"method": METHOD, "digest": order.digest()},
        "too_long": encoder.too_long,
        "sources": source_counts(sources, encoder.too_long_of, drawing, lengths, drawn),
        "drawn_by": {field: values.counts(lengths, drawn) for field, values in drawing.values.items()},
    }
    write_plan(job.output_dir, plan)
    seconds = round(time.monotonic() - started, 2)
    write_result(
        job.output_dir,
        {key: value for key, value in plan.items() if key != "too_long"}
        | {
            "too_long_samples": len(encoder.too_long),
            "rows_not_drawn": sum(counts["not_drawn"] for counts in plan["sources"].values()),
            "sources_markdown": sources_markdown(plan["sources"]),
            "drawn_by_markdown": drawn_markdown(plan["drawn_by"]),
            "too_long_markdown": too_long_markdown(encoder.too_long, job.sequence_length),
            "seconds": seconds,
        },
    )
    report.log(
        f"packed {len(drawn):,} samples ({plan['tokens']:,} tokens) into {len(packed):,} rows of "
        f"{job.sequence_length}, {plan['padding_share']:.1%} padding, {seconds:.0f} s"
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


class _Encoder:
    """Turns the rows that the mixture may take into samples, in an order that does not depend on the files'."""

    def __init__(
        self,
        job: PackJob,
        tokenizer: PreTrainedTokenizerFast,
        tokens: TokenLookup,
        spill: SampleSpill,
        drawing: Drawing,
    ) -> None:
        self._job = job
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._spill = spill
        self._drawing = drawing
        self._digest = hashlib.sha256(b"[")
        self.rows = 0
        self.too_long: dict[str, int] = {}  # name to tokens
        self.too_long_of: dict[tuple[str, str], int] = {}  # source to rows

    def digest(self) -> str:
        """Of all rows that the mixture may take, and their audio tokens."""
        whole = self._digest.copy()
        whole.update(b"]")
        return whole.hexdigest()

    def encode(self, connection: duckdb.DuckDBPyConnection, mixture: Mixture) -> None:
        """Encode all of them into the spill; those that are too long for a row are only counted."""
        with tqdm(desc="encode", mininterval=2, unit=" rows") as progress:
            # The order of corpus, then row: a space is less than what a corpus' name is made of.
            for batch in in_order_of_texts(connection, "rows", "corpus || ' ' || row_id"):
                wanted = mixture.with_items(batch).filter(pl.col("item").is_not_null())
                fits = self._encode(wanted)
                kept = wanted.filter(fits)
                self._spill.state(kept)
                self._drawing.add(kept)
                progress.update(batch.height)

    def _encode(self, rows: pl.DataFrame) -> pl.Series:
        """Whether each of the rows fits; those that do are in the spill."""
        fits: list[bool] = []
        flat = (
            rows.select("audio_digests", "augmentation_digests")
            .explode(["audio_digests", "augmentation_digests"])
            .drop_nulls()
        )
        places = iter(
            self._tokens.places(flat["audio_digests"].to_list(), flat["augmentation_digests"].to_list())
        )
        for row in rows.iter_rows(named=True):
            of_row = [int(next(places)) for _ in row["audio_digests"]]
            input_ids, labels = self._sample(row, of_row)
            fits.append(len(input_ids) <= self._job.sequence_length)
            if fits[-1]:
                self._spill.add(input_ids, labels)
            else:
                source = (row["corpus"], row["task"])
                self.too_long[_name(row)] = len(input_ids)
                self.too_long_of[source] = self.too_long_of.get(source, 0) + 1
        return pl.Series(fits, dtype=pl.Boolean)

    def _sample(self, row: dict[str, Any], places: list[int]) -> tuple[list[int], list[int]]:
        for marker, place in enumerate(places):
            if place < 0:
                utterance, digest = row["utterance_ids"][marker], row["audio_digests"][marker]
                variant = f", variant {row['augmentation_digests'][marker][:16]}"
                raise PackError(
                    f"row {_name(row)}: utterance {utterance!r} (audio {digest[:16]}"
                    f"{variant if row['augmentation_digests'][marker] else ''}) has no tokens of the audio tokenizer "
                    f"{self._job.tokenizer_digest[:16]}; materialise audio_tokens first"
                )
        audio = [self._tokens.tokens(place) for place in places]
        self._remember(row, audio)
        try:
            return encode_row(json.loads(row["messages"]), audio, self._tokenizer, self._job.ratio)
        except (RowError, ModelError) as error:
            raise RowError(f"row {_name(row)} ({row['jsonl_path']}, line {row['line']}): {error}") from error

    def _remember(self, row: dict[str, Any], audio: list[list[int]]) -> None:
        content = {name: row[name] for name in ("corpus", "row_id", "task", "messages", "audio_digests")}
        if any(row["augmentation_digests"]):
            content["augmentation_digests"] = row["augmentation_digests"]
        if self.rows:
            self._digest.update(b",")
        text = json.dumps([content, audio], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        self._digest.update(text.encode())
        self.rows += 1


def _name(row: dict[str, Any]) -> str:
    return f"{row['corpus']}/{row['row_id']}"


def _say_too_long(too_long: dict[str, int], job: PackJob, report: Reporter) -> None:
    if too_long:
        named = ", ".join(f"{name} ({length})" for name, length in list(too_long.items())[:_NAMED])
        report.log(f"{len(too_long)} samples are longer than a row of {job.sequence_length} tokens: {named}")


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
    }


if __name__ == "__main__":
    main()
