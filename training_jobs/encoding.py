"""Training rows to samples: those that the mixture may take, in an order that does not depend on the files'."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
from tqdm import tqdm

from models.errors import ModelError
from training_jobs.cutting import cut_at_turn
from training_jobs.drawing import Drawing
from training_jobs.jobs import PackJob
from training_jobs.mixture import Mixture
from training_jobs.rows import RowError, encode_turns, joined
from training_jobs.sample_ledger import LedgerNotes
from training_jobs.sample_spill import SampleSpill
from training_jobs.token_lookup import TokenLookup
from validation.errors import UserError
from validation.ordering import in_order_of_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAMED = 20  # over-long samples that a message names; the ledger has all


class PackError(UserError):
    """Rows that cannot be packed; names the row, and what is missing."""


class Encoder:
    """Turns rows into samples in the spill, and notes what became of each.

    Attributes:
        rows: Encoded so far.
        too_long: Rows longer than a packed row and left out, by source (corpus and task).
        cut: Those that were cut at a turn.
        named: The first of both by name, with their tokens.
    """

    def __init__(
        self,
        job: PackJob,
        tokenizer: PreTrainedTokenizerFast,
        tokens: TokenLookup,
        spill: SampleSpill,
        notes: LedgerNotes,
        drawing: Drawing,
    ) -> None:
        self._job = job
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._spill = spill
        self._notes = notes
        self._drawing = drawing
        self._digest = hashlib.sha256(b"[")
        self.rows = 0
        self.too_long = Counter[tuple[str, str]]()
        self.cut = Counter[tuple[str, str]]()
        self.named: dict[str, int] = {}

    def digest(self) -> str:
        """Of all rows that the mixture may take, and their audio tokens."""
        whole = self._digest.copy()
        whole.update(b"]")
        return whole.hexdigest()

    def encode(self, connection: duckdb.DuckDBPyConnection, mixture: Mixture) -> None:
        """Encode the view ``rows``.

        Raises:
            PackError: if an audio has no tokens of the tokenizer asked for.
            training_jobs.rows.RowError: for a row that cannot be encoded, naming it.
        """
        with tqdm(desc="encode", mininterval=2, unit=" rows") as progress:
            # The order of corpus, then row: a space is less than what a corpus' name is made of.
            for batch in in_order_of_texts(connection, "rows", "corpus || ' ' || row_id"):
                rows = mixture.with_items(batch).with_row_index("place")
                is_wanted = rows["item"].is_not_null()
                wanted = self._encoded(rows.filter(is_wanted))
                kept = wanted.filter(pl.col("kept_tokens").is_not_null())
                self._spill.state(kept)
                self._drawing.add(kept)
                every = pl.concat([wanted, rows.filter(~is_wanted)], how="diagonal")
                self._notes.add(every.sort("place"))
                progress.update(batch.height)

    def _encoded(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with their ``tokens`` and ``kept_tokens``; samples that fit are in the spill."""
        tokens: list[int] = []
        kept: list[int | None] = []
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
            whole, sample = self._sample(row, of_row)
            tokens.append(whole)
            kept.append(len(sample[0]) or None)
            if kept[-1] != whole:
                self._note_too_long(row, whole, was_cut=kept[-1] is not None)
            if kept[-1] is not None:
                self._spill.add(*sample)
        return rows.with_columns(
            pl.Series("tokens", tokens, dtype=pl.Int64), pl.Series("kept_tokens", kept, dtype=pl.Int64)
        )

    def _sample(self, row: dict[str, Any], places: list[int]) -> tuple[int, tuple[list[int], list[int]]]:
        """The row's length, and what of it goes into the pack: empty if it is too long."""
        for marker, place in enumerate(places):
            if place < 0:
                raise PackError(self._no_tokens(row, marker))
        audio = [self._tokens.tokens(place) for place in places]
        self._remember(row, audio)
        try:
            turns: Sequence[Any] = encode_turns(
                json.loads(row["messages"]), audio, self._tokenizer, self._job.ratio
            )
        except (RowError, ModelError) as error:
            raise RowError(f"row {_name(row)} ({row['jsonl_path']}, line {row['line']}): {error}") from error
        sample = joined(turns)
        whole = len(sample[0])
        if whole > self._job.sequence_length:
            is_cut = self._job.over_long == "cut"
            sample = joined(cut_at_turn(turns, self._job.sequence_length) if is_cut else [])
        return whole, sample

    def _no_tokens(self, row: dict[str, Any], marker: int) -> str:
        utterance, digest = row["utterance_ids"][marker], row["audio_digests"][marker]
        variant = row["augmentation_digests"][marker]
        of_variant = f", variant {variant[:16]}" if variant else ""
        return (
            f"row {_name(row)}: utterance {utterance!r} (audio {digest[:16]}{of_variant}) has no tokens of the audio "
            f"tokenizer {self._job.tokenizer_digest[:16]}; materialise audio_tokens first"
        )

    def _note_too_long(self, row: dict[str, Any], tokens: int, was_cut: bool) -> None:
        (self.cut if was_cut else self.too_long)[row["corpus"], row["task"]] += 1
        if len(self.named) < NAMED:
            self.named[_name(row)] = tokens

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
