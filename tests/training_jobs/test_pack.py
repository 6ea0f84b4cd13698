"""Program pack, from a lake to arrays and a plan; and the order in which training reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from packs import (
    CODES,
    DIGEST,
    OTHER_DIGEST,
    RATIO,
    Messages,
    pack_job,
    packed_names,
    training_row,
    write_lake,
)

from models import extend_text_tokenizer, make_byte_tokenizer
from training_jobs.batches import PackedRows
from training_jobs.jobs import PackJob, read_result, write_job
from training_jobs.pack import PackError, run
from training_jobs.plan import ROW_TOKENS_FILE, SAMPLE_LEDGER_FILE, SAMPLES_FILE, read_plan
from training_jobs.profile import MixtureItem
from training_jobs.row_order import METHOD
from training_jobs.rows import RowError, encode_row
from validation.errors import ConfigurationError
from validation.lake import Lake


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(directory)
    return directory


def test_every_training_row_is_packed_and_held_out_rows_are_not(tmp_path: Path, model_dir: Path) -> None:
    rows = [training_row(number, task) for number in range(20) for task in ("asr", "text")]
    held_out = [training_row(number, split="test") for number in range(20, 25)]
    lake = write_lake(tmp_path / "lake", rows + held_out)
    job = pack_job(tmp_path, model_dir)
    run(job, Messages().report)
    plan = read_plan(job.output_dir)
    packed = sorted(name for row in packed_names(job) for name in row)
    assert packed == sorted(f"c/{row['row_id']}" for row in rows)
    assert plan["sources"].keys() == {"c/asr", "c/text"}
    assert plan["sources"]["c/asr"]["samples"] == 20
    assert plan["tokens"] + plan["padding_tokens"] == plan["packed_rows"] * 256
    _check_arrays(job, lake)
    result = read_result(job.output_dir)
    assert result is not None
    assert result["tokens"] == plan["tokens"]


def _check_arrays(job: PackJob, lake: Lake) -> None:
    """The arrays hold what encode_row gives for the samples the plan names."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model_dir)
    rows = PackedRows(job.output_dir, seed=0, batch_rows=1)
    row_tokens = np.load(job.output_dir / ROW_TOKENS_FILE)
    by_name = {f"{row['corpus']}/{row['row_id']}": row for row in lake.read_table("training_rows").to_dicts()}
    for number, names in enumerate(packed_names(job)):
        expected_ids: list[int] = []
        expected_labels: list[int] = []
        for name in names:
            row = by_name[name]
            audio = [[int(digest, 16) % CODES] * 12 for digest in row["audio_digests"]]
            ids, row_labels = encode_row(json.loads(row["messages"]), audio, tokenizer, RATIO)
            expected_ids += ids
            expected_labels += [-100, *row_labels[1:]]
        batch, padding = rows.read((number,)), 256 - len(expected_ids)
        assert row_tokens[number] == batch.tokens == len(expected_ids)
        assert batch.input_ids_BT[0, : batch.tokens].tolist() == expected_ids
        assert batch.labels_BT[0].tolist() == expected_labels + [-100] * padding
        assert int((batch.position_ids_BT[0] == 0).sum()) == len(names) + (padding > 0)


def test_the_same_data_and_seed_give_the_same_plan_and_another_seed_another(
    tmp_path: Path, model_dir: Path
) -> None:
    write_lake(tmp_path / "lake", [training_row(number) for number in range(30)])
    jobs = [
        pack_job(tmp_path, model_dir, output_dir=tmp_path / name, seed=seed)
        for name, seed in (("one", 1), ("two", 1), ("three", 2))
    ]
    for job in jobs:
        run(job, Messages().report)
    one, two, three = (read_plan(job.output_dir) for job in jobs)
    assert one == two
    assert packed_names(jobs[0]) == packed_names(jobs[1]) != packed_names(jobs[2])
    assert one["data_digest"] == three["data_digest"]


def ledger_of(job: PackJob) -> pl.DataFrame:
    return pl.read_parquet(job.output_dir / SAMPLE_LEDGER_FILE)


def test_a_sample_longer_than_a_row_is_named_in_ledger_result_and_log(
    tmp_path: Path, model_dir: Path
) -> None:
    write_lake(tmp_path / "lake", [training_row(0), training_row(1, text="nine " * 100)])
    job, messages = pack_job(tmp_path, model_dir), Messages()
    run(job, messages.report)
    rejected = ledger_of(job).filter(outcome="rejected").row(0, named=True)
    assert (rejected["row_id"], rejected["reason"], rejected["utterance_ids"]) == (
        "asr-1",
        "longer_than_row",
        ["u1"],
    )
    assert rejected["tokens"] > rejected["limit"] == 256
    assert rejected["detail"] == f"asr-1 (train.jsonl, line 2): {rejected['tokens']} tokens, limit 256"
    result = read_result(job.output_dir)
    assert result is not None
    assert (result["too_long_samples"], result["cut_samples"]) == (1, 0)
    assert "c/asr-1" in result["too_long_markdown"]
    said = "1 samples are longer than a row of 256 tokens, 0 of them cut at a turn: c/asr-1"
    assert any(said in line for line in messages.lines)


def conversation(number: int, *replies: int) -> dict[str, Any]:
    """A row whose replies have so many letters, each a token."""
    turns = [
        {"role": role, "content": "x" * length}
        for reply in replies
        for role, length in (("user", 4), ("assistant", reply))
    ]
    return training_row(number, "text") | {"messages": json.dumps(turns)}


def test_an_over_long_conversation_is_cut_after_the_last_reply_that_fits(
    tmp_path: Path, model_dir: Path
) -> None:
    rows = [conversation(0, 50, 60, 200), conversation(1, 300, 5), conversation(2, 40)]
    write_lake(tmp_path / "lake", rows)
    job = pack_job(tmp_path, model_dir, over_long="cut")
    run(job, Messages().report)
    ended = {row["row_id"]: row for row in ledger_of(job).to_dicts()}
    assert {name: row["reason"] for name, row in ended.items()} == {
        "text-0": "cut_at_turn",
        "text-1": "longer_than_row",
        "text-2": "packed",
    }
    _check_cut(job, ended["text-0"], json.loads(rows[0]["messages"])[:4])
    samples = pl.read_parquet(job.output_dir / SAMPLES_FILE)
    assert samples.filter(row_id="text-0")["tokens"].to_list() == [ended["text-0"]["kept_tokens"]]
    assert read_plan(job.output_dir)["sources"]["c/text"]["cut"] == 1


def _check_cut(job: PackJob, row: dict[str, Any], kept: list[dict[str, str]]) -> None:
    from transformers import AutoTokenizer

    ids, _ = encode_row(kept, [], AutoTokenizer.from_pretrained(job.model_dir), RATIO)
    assert row["kept_tokens"] == len(ids) <= 256 < row["tokens"]
    assert row["detail"].endswith(f"; {len(ids)} of them are kept, up to the end of a turn")
    packed = [values.tolist() for values in np.load(job.output_dir / "input_ids.npy")]
    assert any(values[start : start + len(ids)] == ids for values in packed for start in range(256))


def test_every_training_row_ends_once_in_the_ledger(tmp_path: Path, model_dir: Path) -> None:
    rows = [training_row(number) for number in range(12)]
    rows += [training_row(number, "text") for number in range(5)]
    rows += [training_row(20, text="nine " * 100), training_row(21, split="test")]
    write_lake(tmp_path / "lake", rows)
    job = pack_job(tmp_path, model_dir, mixture=[MixtureItem(task="asr", ratio=1.5)])
    run(job, Messages().report)
    ledger, plan = ledger_of(job), read_plan(job.output_dir)
    assert ledger["row_id"].to_list() == sorted(row["row_id"] for row in rows if row["split"] == "train")
    assert plan["ended"] == {"longer_than_row": 1, "not_in_mixture": 5, "packed": 12}
    assert sorted(ledger.filter(reason="packed")["draws"].to_list()) == [1] * 6 + [2] * 6
    assert ledger["draws"].sum() == plan["samples"]
    packed = pl.read_parquet(job.output_dir / SAMPLES_FILE).group_by("row_id").len("draws")
    assert dict(packed.iter_rows()) == dict(
        ledger.filter(reason="packed").select("row_id", "draws").iter_rows()
    )
    assert plan["sources"]["c/asr"]["hours"] == round(18 / 3600, 4)
    assert plan["upstream_greedy"]["rows"] <= plan["packed_rows"]


def test_audio_without_tokens_is_an_error_that_names_utterance_and_tokenizer(
    tmp_path: Path, model_dir: Path
) -> None:
    write_lake(tmp_path / "lake", [training_row(3)], tokenizer_digest=OTHER_DIGEST)
    with pytest.raises(PackError, match=f"row c/asr-3: utterance 'u3'.*{DIGEST[:16]}"):
        run(pack_job(tmp_path, model_dir), Messages().report)


def test_a_row_that_cannot_be_encoded_is_named_with_its_line(tmp_path: Path, model_dir: Path) -> None:
    row = training_row(0) | {"messages": json.dumps([{"role": "robot", "content": "<|audio|>"}])}
    write_lake(tmp_path / "lake", [row])
    with pytest.raises(RowError, match=r"row c/asr-0 \(train.jsonl, line 1\).*'robot'"):
        run(pack_job(tmp_path, model_dir), Messages().report)


def test_a_row_that_cannot_be_interleaved_is_named(tmp_path: Path, model_dir: Path) -> None:
    messages = [{"role": "user", "content": "say it"}, {"role": "assistant", "content": "nine\n<|audio|>"}]
    write_lake(tmp_path / "lake", [training_row(0) | {"messages": json.dumps(messages)}])
    with pytest.raises(RowError, match=r"row c/asr-0 \(train.jsonl, line 1\): ratio \[1, 2\] must be pairs"):
        run(pack_job(tmp_path, model_dir, ratio=(1, 2)), Messages().report)


def test_a_users_fault_ends_the_real_program_in_one_line(tmp_path: Path, model_dir: Path) -> None:
    """Started as a program its module is __main__, and the error's class another than the one that tests import."""
    write_lake(tmp_path / "lake", [training_row(0, split="test")])
    job = write_job(pack_job(tmp_path, model_dir), tmp_path / "job.json")
    answer = subprocess.run(
        [sys.executable, "-m", "training_jobs.pack", str(job)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert "PackError: nothing to pack" in answer.stderr.splitlines()[-1]


def test_nothing_to_pack_is_an_error(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(0, split="test")])
    with pytest.raises(PackError, match="nothing to pack"):
        run(pack_job(tmp_path, model_dir), Messages().report)


def test_a_mixture_of_an_unknown_corpus_is_refused(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(0)])
    mixture = [MixtureItem(task="asr", corpus="e", ratio=1.0)]
    with pytest.raises(ConfigurationError, match=r"names the corpora \['e'\]; there are \['c'\]"):
        run(pack_job(tmp_path, model_dir, mixture=mixture), Messages().report)


def test_a_step_has_the_same_micro_batches_on_any_number_of_ranks(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(number) for number in range(60)])
    job = pack_job(tmp_path, model_dir)
    run(job, Messages().report)
    rows = PackedRows(job.output_dir, seed=3, batch_rows=8)
    plan = read_plan(job.output_dir)
    count = plan["packed_rows"]
    for world, micro_batch in ((1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 2), (4, 2), (2, 4)):
        for step in (0, 3, 1_000_000):
            passes = 8 // (world * micro_batch)
            dealt = [
                rows.rows_of(step, rank, micro, world, micro_batch)
                for micro in range(passes)
                for rank in range(world)
            ]
            assert [row for one in dealt for row in one] == list(rows.rows_of_step(step))
    seen = [row for step in range(count) for row in rows.rows_of_step(step)]
    assert [sorted(seen[start : start + count]) for start in range(0, 8 * count, count)] == [
        list(range(count))
    ] * 8
    batch = rows.read(rows.rows_of(0, 1, 0, 2, 1))
    assert batch.input_ids_BT.shape == (1, 256)
    assert batch.tokens == np.load(job.output_dir / ROW_TOKENS_FILE)[batch.rows[0]]


def test_a_batch_says_which_task_each_token_is_of(tmp_path: Path, model_dir: Path) -> None:
    write_lake(
        tmp_path / "lake", [training_row(number, task) for number in range(9) for task in ("asr", "text")]
    )
    job = pack_job(tmp_path, model_dir)
    run(job, Messages().report)
    rows = PackedRows(job.output_dir, seed=3, batch_rows=4)
    assert rows.tasks == ("asr", "text")
    samples = pl.read_parquet(job.output_dir / SAMPLES_FILE)
    for row in range(rows.count):
        wanted = [
            rows.tasks.index(row_id.split("-")[0])
            for row_id, tokens in samples.filter(row=row).select("row_id", "tokens").iter_rows()
            for _ in range(tokens)
        ]
        found = rows.read((row,)).task_of_token_BT[0].tolist()
        assert found == wanted + [-1] * (256 - len(wanted))


def test_the_plan_says_which_order_its_rows_are_seen_in(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(number) for number in range(30)])
    job = pack_job(tmp_path, model_dir)
    run(job, Messages().report)
    rows = PackedRows(job.output_dir, job.seed, batch_rows=2)
    assert read_plan(job.output_dir)["order"] == {"method": METHOD, "digest": rows.order.digest()}
