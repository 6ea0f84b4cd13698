"""What a mixture takes of a lake, through the program pack."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from packs import CODES, Messages, pack_job, packed_names, training_row, write_lake

from models import extend_text_tokenizer, make_byte_tokenizer
from training_jobs.jobs import read_result
from training_jobs.mixture import MixtureError
from training_jobs.pack import run
from training_jobs.plan import SAMPLES_FILE, read_plan
from training_jobs.profile import MixtureItem


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(directory)
    return directory


def test_a_mixture_repeats_and_draws_and_an_entry_for_a_corpus_wins(tmp_path: Path, model_dir: Path) -> None:
    rows = [training_row(number, corpus=corpus) for corpus in ("c", "d") for number in range(10)]
    write_lake(tmp_path / "lake", [*rows, training_row(0, "text")])
    mixture = [MixtureItem(task="asr", ratio=0.5), MixtureItem(task="asr", corpus="d", ratio=2.0)]
    job = pack_job(tmp_path, model_dir, corpora=["c", "d"], mixture=mixture)
    run(job, Messages().report)
    sources = read_plan(job.output_dir)["sources"]
    assert {name: counts["samples"] for name, counts in sources.items()} == {
        "c/asr": 5,
        "c/text": 0,
        "d/asr": 20,
    }


def test_rows_that_are_not_drawn_are_counted_in_plan_and_result(tmp_path: Path, model_dir: Path) -> None:
    """Half of a source is never seen, and one whose task the mixture does not name neither: both are to be read."""
    rows = [training_row(number) for number in range(9)]
    write_lake(tmp_path / "lake", [*rows, training_row(9, text="nine " * 100), training_row(0, "text")])
    job = pack_job(tmp_path, model_dir, mixture=[MixtureItem(task="asr", ratio=1 / 3)])
    run(job, Messages().report)
    sources = read_plan(job.output_dir)["sources"]
    of_asr = {"rows": 10, "too_long": 1, "drawn": 3, "not_drawn": 6, "samples": 3}
    assert {name: sources["c/asr"][name] for name in of_asr} == of_asr
    assert sources["c/text"]["not_drawn"] == 1
    result = read_result(job.output_dir)
    assert result is not None
    assert result["rows_not_drawn"] == 7
    assert "| c/asr | 10 | 1 | 0 | 3 | 6 | 3 |" in result["sources_markdown"]


def test_a_row_seen_twice_is_drawn_once(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(number) for number in range(4)])
    job = pack_job(tmp_path, model_dir, mixture=[MixtureItem(task="asr", ratio=2.0)])
    run(job, Messages().report)
    counts = read_plan(job.output_dir)["sources"]["c/asr"]
    assert (counts["samples"], counts["drawn"], counts["not_drawn"]) == (8, 4, 0)


def test_rows_are_packed_by_what_is_known_of_them_and_counted_by_its_values(
    tmp_path: Path, model_dir: Path
) -> None:
    rows = [
        training_row(number, snr_db=float(number), licences=["NC"] if number % 2 else ["CC0-1.0"])
        for number in range(20)
    ]
    rows[0]["metadata"] = json.dumps({"up_votes": "7"})
    write_lake(tmp_path / "lake", rows)
    where = [
        {"field": "snr_db", "op": "ge", "value": 10},
        {"field": "licence", "op": "not_in", "value": ["NC"]},
    ]
    voted = [{"field": "metadata.up_votes", "op": "ge", "value": 5}]
    mixture = [
        MixtureItem.model_validate({"task": "asr", "ratio": 1.0, "where": where}),
        MixtureItem.model_validate({"task": "asr", "ratio": 2.0, "where": voted}),
    ]
    job = pack_job(tmp_path, model_dir, mixture=mixture)
    run(job, Messages().report)
    packed = sorted(name for row in packed_names(job) for name in row)
    assert packed == sorted(["c/asr-0"] * 2 + [f"c/asr-{number}" for number in range(10, 20, 2)])
    plan = read_plan(job.output_dir)
    assert plan["drawn_by"]["licence"] == {
        "CC0-1.0": {"rows": 6, "drawn": 6, "samples": 7, "tokens": plan["tokens"]}
    }
    assert plan["drawn_by"]["metadata.up_votes"]["7"]["samples"] == 2
    assert plan["drawn_by"]["snr_db"]["known"]["samples"] == 7
    assert plan["sources"]["c/asr"]["not_drawn"] == 14
    result = read_result(job.output_dir)
    assert result is not None
    assert "| licence | CC0-1.0 | 6 | 6 | 7 |" in result["drawn_by_markdown"]


def test_a_condition_that_nothing_meets_says_what_metadata_there_is(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(0, metadata=json.dumps({"age": "teens", "accent": "x"}))])
    where = [{"field": "metadata.up_votes", "op": "ge", "value": 5}]
    mixture = [MixtureItem.model_validate({"task": "asr", "ratio": 1.0, "where": where})]
    with pytest.raises(MixtureError, match="is met by none of 1 training rows; metadata has accent, age"):
        run(pack_job(tmp_path, model_dir, mixture=mixture), Messages().report)


def test_a_pack_says_whose_rows_it_holds(tmp_path: Path, model_dir: Path) -> None:
    write_lake(tmp_path / "lake", [training_row(number, speakers=[f"s{number}"]) for number in range(3)])
    job = pack_job(tmp_path, model_dir)
    run(job, Messages().report)
    samples = pl.read_parquet(job.output_dir / SAMPLES_FILE).sort("row_id")
    assert samples["speakers"].to_list() == [["s0"], ["s1"], ["s2"]]
    assert samples["utterance_ids"].to_list() == [["u0"], ["u1"], ["u2"]]
    assert samples["tokens"].sum() == read_plan(job.output_dir)["tokens"]
    assert not (job.output_dir / ".work").exists()
