"""The step ``raw_utterances``: a corpus' rows as a table; every row that is no utterance goes to the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from tempfile import TemporaryFile
from typing import IO, Any, Literal, get_args

import polars as pl

from assets.audio.pieces import CutRows, cut_rows, pieces_digest
from assets.corpora.config import CorpusEntry
from assets.corpora.contract_faults import within_contract
from assets.corpora.forgetting import Forgetting, line_of
from assets.corpora.readers import READERS
from assets.corpora.root import CorpusRoot
from assets.corpora.sources import Sources
from assets.corpora.split import Split
from assets.corpora.table_rows import TableRows
from assets.corpora.utterance import Row, SourceProblem
from validation.batches import write_batches
from validation.digests import digest_value
from validation.errors import UserError
from validation.forgotten import ForgottenRows
from validation.lake import Lake
from validation.ledger import LedgerRow, Reason, has_ended_with, ledger_partition, write_ledger_part
from validation.reasons import PASSING
from validation.steps import StepOutcome, run_step

STEP: Literal["raw_utterances"] = "raw_utterances"
_RECIPE = 6
_BATCH = 4096
# Unlike a missing file, whose appearance changes the listing, a file that could not be read looks the same when it can.
_PASSING: tuple[Reason, ...] = ("unreadable",)
_READ = "read"
_TOLD = 3  # faults of the root in the error for a corpus without rows


def ingest(entry: CorpusEntry, lake: Lake, workers: int = 1) -> StepOutcome:
    """Read the corpus into ``raw_utterances`` and its first part of the ledger.

    Nothing is read where the entry and the listing of its root (names, sizes, times of change) are those of the last
    run. Rows end here with the reasons ``malformed_row`` and its relatives, ``missing_audio``, ``outside_root``,
    ``unsafe_member``, ``unreadable``, ``bad_segment``, ``duplicate_id`` (the second and later ones), ``empty_text``,
    ``special_token_in_text``, ``forgotten`` and ``breaks_contract``. As long as a row is ``unreadable``, the next run
    tries again.

    Where the entry says that recordings are cut (:mod:`assets.audio.pieces`), each piece is a row that was read, in its
    recording's place; the recording is a row itself, of the ledger, only if it is not cut, or not to its end.

    Raises:
        UserError: if the root holds nothing that the reader reads.
    """
    root = CorpusRoot(entry.root)
    configuration = entry.model_dump(
        mode="json", exclude={"thresholds", "models", "drift", "audio", "budget", "augmentation"}
    )
    forgotten = ForgottenRows.read(lake, entry.name)
    asked = {"recipe": _RECIPE, "entry": configuration, "listing": root.listing_digest()}
    if forgotten.inputs:
        asked["forgotten"] = forgotten.inputs
    if entry.makes_pieces:
        asked["pieces"] = pieces_digest(entry)
    inputs = digest_value(asked)
    part = ledger_partition(entry.name, STEP)
    outputs = [lake.table_path("raw_utterances", entry.name), lake.table_path("ledger", part)]
    passing = PASSING if entry.makes_pieces else _PASSING
    return run_step(
        lake,
        STEP,
        entry.name,
        inputs,
        outputs,
        lambda: _compute(entry, root, lake, Forgetting(entry, root, forgotten), workers),
        is_whole=lambda: not has_ended_with(lake, entry.name, STEP, passing),
    )


def _compute(
    entry: CorpusEntry, root: CorpusRoot, lake: Lake, forgetting: Forgetting, workers: int
) -> dict[str, Any]:
    kept = f"work/{STEP}/{entry.name}.parquet"
    counts: Counter[str] = Counter()
    with (
        Sources(root) as sources,
        TableRows(entry) as table_rows,
        # Table and ledger are written one after the other.
        TemporaryFile("w+", encoding="utf-8") as problems,
        ExitStack() as stack,
    ):
        sources.remember(lake, kept)
        frames = _frames(entry, root, sources, table_rows, forgetting, problems, counts)
        cut: CutRows | None = None
        if entry.makes_pieces:
            cut = stack.enter_context(cut_rows(entry, lake, frames, workers))
            frames = forgetting.without_pieces(
                cut.frames(), lambda problem: _tell(problems, entry.name, problem)
            )
        rows = write_batches(lake, STEP, entry.name, _counted(frames, counts))
        problems.seek(0)
        ended_here = (LedgerRow(*json.loads(line)) for line in problems)
        write_ledger_part(
            lake, entry.name, STEP, chain(ended_here, () if cut is None else cut.problems(STEP))
        )
        sources.keep(lake, kept)
        if cut is None:
            lake.remove_table("recordings", entry.name)
        else:
            cut.write_recordings()
            counts[_READ] += cut.added
    splits = {split: counts[split] for split in sorted(get_args(Split)) if counts[split]}
    return {"rows": rows, "read": counts[_READ], "ended_here": counts[_READ] - rows, "splits": splits}


def _counted(frames: Iterable[pl.DataFrame], counts: Counter[str]) -> Iterator[pl.DataFrame]:
    for frame in frames:
        counts.update(frame["split"].to_list())
        yield frame


def _frames(
    entry: CorpusEntry,
    root: CorpusRoot,
    sources: Sources,
    table_rows: TableRows,
    forgetting: Forgetting,
    problems: IO[str],
    counts: Counter[str],
) -> Iterator[pl.DataFrame]:
    """The table a batch at a time; what is no row of it goes to ``problems``, a line of JSON each."""
    for batch in _batches(chain(READERS[entry.reader].read(root, entry.options), root.faults)):
        counts[_READ] += len(batch)
        kept = []
        rows = forgetting.without(batch)
        for made in forgetting.without_contents(table_rows.make(rows, sources.locate(rows)), sources):
            if isinstance(made, SourceProblem):
                _tell(problems, entry.name, made)
            else:
                kept.append(made)
        frame, broken = within_contract(kept)
        for problem in broken:
            _tell(problems, entry.name, problem)
        yield frame
    if counts[_READ] == len(root.faults):
        found = "; ".join(["", *(fault.detail for fault in root.faults[:_TOLD])])
        raise UserError(
            f"{root.path}: reader {entry.reader} finds no row; wanted are {entry.options.wanted()}{found}"
        )


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows, no conversation divided: its rows come from one line of the corpus, so they follow one another."""
    following = next(rows, None)
    while following is not None:
        batch = [following, *islice(rows, _BATCH - 1)]
        while (following := next(rows, None)) is not None and line_of(following) is not None:
            if line_of(following) != line_of(batch[-1]):
                break
            batch.append(following)
        yield batch


def _tell(problems: IO[str], corpus: str, problem: SourceProblem) -> None:
    told = (problem.reason, problem.detail, problem.value, problem.limit)
    problems.write(json.dumps((corpus, problem.utterance_id, problem.source, STEP, *told)) + "\n")
