"""What became of every training row in a pack: noted while rows are encoded, settled once the mixture is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_jobs.plan import SAMPLE_LEDGER_FILE
from validation.atomic import replacing
from validation.batches import batches_of_file
from validation.sample_contracts import SAMPLE_OUTCOME_OF
from validation.schemas import polars_schema

# What the asset adds, which knows whose pack it is.
OF_THE_STAGE = ("profile", "stage", "pack")
LEDGER_SCHEMA = {
    name: kind for name, kind in polars_schema("sample_ledger").items() if name not in OF_THE_STAGE
}
_NOTED: dict[str, Any] = {
    **{name: LEDGER_SCHEMA[name] for name in ("corpus", "row_id", "task", "utterance_ids")},
    "place": pl.String,
    "tokens": pl.Int64,
    "kept_tokens": pl.Int64,
}
_NOTES_FILE = "ledger_notes.parquet"


class LedgerNotes:
    """Rows as they are encoded, in their order, in a file of ``folder``; whoever makes the folder removes it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NOTES_FILE
        self._schema = pl.DataFrame(schema=_NOTED).to_arrow().schema
        self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")

    def add(self, rows: pl.DataFrame) -> None:
        """Note rows with ``tokens`` (null: not encoded) and ``kept_tokens`` (null: no sample was made of it)."""
        place = pl.format("{}, line {}", "jsonl_path", "line")
        self._writer.write_table(
            rows.with_columns(place=place).select(list(_NOTED)).to_arrow().cast(self._schema)
        )

    def __enter__(self) -> LedgerNotes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def settle(
        self, output_dir: Path, drawn: NDArray[np.int64], samples: int, limit: int
    ) -> Mapping[str, int]:
        """Write the pack's ledger, once all rows are noted; gives the rows of each reason.

        Args:
            drawn: Samples as they were drawn, numbered in the order in which rows with ``kept_tokens`` came.
            samples: Number of such rows.
            limit: Tokens of a packed row.
        """
        self._writer.close()
        draws = np.bincount(drawn, minlength=samples).astype(np.int64)
        schema = pl.DataFrame(schema=LEDGER_SCHEMA).to_arrow().schema
        counts: dict[str, int] = {}
        seen = 0
        with (
            replacing(output_dir / SAMPLE_LEDGER_FILE) as path,
            pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer,
            pq.ParquetFile(self._path) as noted,
        ):
            for batch in batches_of_file(noted):
                has_sample = batch["kept_tokens"].is_not_null()
                stop = seen + int(has_sample.sum())
                of_batch = np.zeros(batch.height, dtype=np.int64)
                of_batch[has_sample.to_numpy()] = draws[seen:stop]
                seen = stop
                ended = _ended(batch.with_columns(draws=of_batch), limit)
                for reason, rows in ended["reason"].value_counts().iter_rows():
                    counts[reason] = counts.get(reason, 0) + rows
                writer.write_table(ended.select(list(LEDGER_SCHEMA)).to_arrow().cast(schema))
        assert seen == samples, (seen, samples)
        return dict(sorted(counts.items()))


def _ended(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """The rows with their ends; of several reasons the first that is true."""
    tokens, kept = pl.col("tokens"), pl.col("kept_tokens")
    reason = (
        pl.when(tokens.is_null())
        .then(pl.lit("not_in_mixture"))
        .when(kept.is_null())
        .then(pl.lit("longer_than_row"))
        .when(pl.col("draws") == 0)
        .then(pl.lit("not_drawn"))
        .when(kept < tokens)
        .then(pl.lit("cut_at_turn"))
        .otherwise(pl.lit("packed"))
    )
    too_long = pl.format("{} ({}): {} tokens, limit {}", "row_id", "place", "tokens", pl.lit(limit))
    cut = pl.format("{}; {} of them are kept, up to the end of a turn", too_long, "kept_tokens")
    return rows.with_columns(reason=reason, limit=pl.lit(limit, pl.Int64)).with_columns(
        outcome=pl.col("reason").replace_strict(SAMPLE_OUTCOME_OF, return_dtype=pl.String),
        detail=pl.when(kept.is_null() & tokens.is_not_null()).then(too_long).when(kept < tokens).then(cut),
    )
