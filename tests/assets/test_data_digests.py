"""What a stage is stale by: the rows and their audio, not their order, and not where their files lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packs import training_row

from assets.data_digests import rows_digest
from validation.lake import Lake, MissingTableError
from validation.schemas import frame_from_rows


def digest(root: Path, rows: list[dict[str, object]], *fields: str) -> str:
    lake = Lake(str(root))
    lake.write_table("training_rows", "c", frame_from_rows("training_rows", rows))
    return rows_digest(lake, ["c"], "train", fields)


def test_order_and_place_do_not_count_and_rows_and_their_number_do(tmp_path: Path) -> None:
    rows = [training_row(number) for number in range(4)]
    first = digest(tmp_path / "a", rows)
    moved = [{**row, "audios": ["elsewhere.wav"], "line": 9} for row in reversed(rows)]
    assert digest(tmp_path / "b", moved) == first
    assert digest(tmp_path / "c", [*rows, training_row(9, split="test")]) == first
    others = (
        rows[:3],
        [*rows[:3], training_row(3, text="ten")],
        [*rows[:3], {**rows[3], "audio_digests": ["f" * 64]}],
        # Pairs of equal rows are not nothing.
        [*rows, rows[0], rows[0]],
    )
    assert len({first, *(digest(tmp_path / "d", changed) for changed in others)}) == 5


@pytest.mark.parametrize(
    ("field", "change"),
    [("snr_db", {"snr_db": 3.0}), ("metadata.age", {"metadata": json.dumps({"age": "30"})})],
)
def test_what_else_is_known_counts_where_a_mixture_asks_for_it(
    tmp_path: Path, field: str, change: dict[str, object]
) -> None:
    row = training_row(0)
    assert digest(tmp_path, [row]) == digest(tmp_path, [{**row, **change}])
    assert digest(tmp_path, [row], field) != digest(tmp_path, [{**row, **change}], field)


def test_a_corpus_that_is_not_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTableError, match="training_rows has no partition 'c'"):
        rows_digest(Lake(str(tmp_path)), ["c"], "train")
