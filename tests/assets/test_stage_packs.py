"""The ledger of samples: every training row of every stage's pack once in the lake, against the pack's own counts."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from packs import CODES, Messages, pack_job, training_row, write_lake

from assets.outputs import Output
from assets.stage_packs import BALANCE_CHECK, check_balance, drawn_table, publish_ledger
from models import extend_text_tokenizer, make_byte_tokenizer
from pipelines.sql import query
from training_jobs.pack import run
from training_jobs.plan import read_plan
from training_jobs.profile import MixtureItem
from validation.lake import Lake
from validation.sample_balance import balance_faults, sample_balances, sample_parts

ROWS = [training_row(number, corpus=corpus) for corpus in ("c", "d") for number in range(6)] + [
    training_row(7, text="nine " * 100),
    training_row(8, "text", corpus="d"),
]


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Lake, Output]:
    model_dir = tmp_path / "model"
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(model_dir)
    lake = write_lake(tmp_path / "lake", ROWS)
    mixture = [MixtureItem(task="asr", ratio=0.5), MixtureItem(task="asr", corpus="d", ratio=2.0)]
    job = pack_job(tmp_path, model_dir, corpora=["c", "d"], mixture=mixture)
    run(job, Messages().report)
    return lake, Output("stage_packs", "e" * 64, job.output_dir)


def faults_of(lake: Lake, pack: Output) -> list[str]:
    return list(balance_faults(sample_balances(lake, "tiny", "sft"), read_plan(pack.path)["sources"]))


def test_every_row_is_in_the_lakes_ledger_and_the_balance_holds(packed: tuple[Lake, Output]) -> None:
    lake, pack = packed
    publish_ledger(lake, "tiny", "sft", pack)
    assert faults_of(lake, pack) == []
    assert check_balance([]).passed and check_balance([]).check_name == BALANCE_CHECK
    found = query(
        lake, "SELECT corpus, reason, count(*), sum(draws)::INT FROM sample_ledger GROUP BY ALL ORDER BY ALL"
    )
    assert found.rows() == [
        ("c", "longer_than_row", 1, 0),
        ("c", "not_drawn", 3, 0),
        ("c", "packed", 3, 3),
        ("d", "not_in_mixture", 1, 0),
        ("d", "packed", 6, 12),
    ]
    assert lake.read_table("sample_ledger")["pack"].unique().to_list() == [pack.inputs]


def test_a_row_that_is_missing_or_there_twice_fails_the_balance(packed: tuple[Lake, Output]) -> None:
    lake, pack = packed
    publish_ledger(lake, "tiny", "sft", pack)
    whole = lake.read_table("sample_ledger", "c--tiny-sft")
    lake.write_table("sample_ledger", "c--tiny-sft", whole[1:])
    assert faults_of(lake, pack)[0].startswith("c/asr: rows: 6 in the ledger, 7 in the pack")
    assert not check_balance(faults_of(lake, pack)).passed
    lake.write_table("sample_ledger", "c--tiny-sft", pl.concat([whole, whole[:1]]))
    assert "c/asr: duplicates: 1 in the ledger, 0 in the pack" in faults_of(lake, pack)
    lake.remove_table("sample_ledger", "d--tiny-sft")
    assert any(fault.startswith("d/text: rows: 0 in the ledger") for fault in faults_of(lake, pack))


def test_the_ledger_is_written_once_for_a_pack_and_stages_do_not_touch_each_others(
    packed: tuple[Lake, Output],
) -> None:
    lake, pack = packed
    publish_ledger(lake, "tiny", "single_mctp", pack)
    publish_ledger(lake, "tiny", "sft", pack)
    first = Path(lake.root, sample_parts(lake, "tiny", "sft")[0])
    before = first.stat().st_mtime_ns
    publish_ledger(lake, "tiny", "sft", pack)
    assert first.stat().st_mtime_ns == before
    # A corpus that is no longer trained on, and a part that was lost.
    stale = lake.read_table("sample_ledger", "c--tiny-sft").with_columns(corpus=pl.lit("gone"))
    lake.write_table("sample_ledger", "gone--tiny-sft", stale)
    lake.remove_table("sample_ledger", "d--tiny-sft")
    publish_ledger(lake, "tiny", "sft", pack)
    names = [path.rpartition("/")[2] for path in sample_parts(lake, "tiny", "sft")]
    assert names == ["c--tiny-sft.parquet", "d--tiny-sft.parquet"]
    assert len(sample_parts(lake, "tiny", "single_mctp")) == 2
    assert faults_of(lake, pack) == []


def test_the_same_pack_gives_the_same_bytes(packed: tuple[Lake, Output]) -> None:
    lake, pack = packed
    publish_ledger(lake, "tiny", "sft", pack)
    parts = sample_parts(lake, "tiny", "sft")
    before = [lake.read_bytes(path) for path in parts]
    lake.write_manifest("sample_ledger", "tiny-sft", "0" * 64, {"parts": []})
    publish_ledger(lake, "tiny", "sft", pack)
    assert [lake.read_bytes(path) for path in parts] == before


def test_what_was_drawn_is_a_table_with_each_sources_share(packed: tuple[Lake, Output]) -> None:
    sources = read_plan(packed[1].path)["sources"]
    table = drawn_table(sources)
    rows = {(one.data["corpus"], one.data["task"]): one.data for one in table.records}
    assert [(pair, rows[pair]["rows"], rows[pair]["samples"]) for pair in rows] == [
        (("c", "asr"), 3, 3),
        (("d", "asr"), 6, 12),
        (("d", "text"), 0, 0),
    ]
    assert [column.name for column in table.schema.columns] == list(table.records[0].data)
    assert sum(float(row["share"]) for row in rows.values()) == pytest.approx(1, abs=1e-5)
    assert rows["d", "asr"]["tokens"] == sources["d/asr"]["tokens"]
    assert rows["d", "asr"]["hours"] == pytest.approx(12 / 3600, abs=1e-4)
