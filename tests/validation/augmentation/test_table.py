"""The table augmentations: variants of the training split only, made anew when what they are made from changes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from augmented_lake import RECIPE, SPEECH, STREET, make_lake

from validation.augmentation.recipe import NO_RECIPE, Recipe
from validation.augmentation.rows import rows_with_variants
from validation.augmentation.table import AugmentationError, augment, heard_markers
from validation.batches import database, frame_of
from validation.lake import Lake


def with_variants(lake: Lake) -> pl.DataFrame:
    with database(lake) as connection:
        return frame_of(connection, f"SELECT * FROM ({rows_with_variants(lake, [SPEECH])}) ORDER BY row_id")


def test_only_rows_of_the_training_split_have_variants(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    outcome = augment(SPEECH, RECIPE, lake)
    table, rows = lake.read_table("augmentations", SPEECH), lake.read_table("training_rows", SPEECH)
    split_of = dict(rows.select("row_id", "split").iter_rows())
    assert {split_of[original] for original in table["original"]} == {"train"}
    held_out = set(rows.filter(split="test").explode("audio_digests")["audio_digests"])
    assert not held_out & set(table["audio_digest"])
    assert outcome.summary["training_rows"] == 7, "six to hear and a spoken question"
    assert outcome.summary["variants"] + outcome.summary["copies_not_made"] == 2 * 7
    everything = with_variants(lake)
    assert everything.filter(split="test").height == rows.filter(split="test").height


def test_held_out_noise_is_not_mixed_in(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, train=40)
    augment(SPEECH, RECIPE, lake)
    drawn = [json.loads(text) for text in lake.read_table("augmentations", SPEECH)["augmentation"]]
    assert {one["noise"]["utterance_id"] for one in drawn if "noise" in one} == {"n0", "n1", "n2"}


def test_of_a_conversation_the_question_is_changed_and_the_answer_is_not(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    augment(SPEECH, RECIPE, lake)
    table = lake.read_table("augmentations", SPEECH).filter(original="q0")
    assert table.height
    assert table["marker"].unique().to_list() == [0]
    variant = with_variants(lake).filter(pl.col("row_id") == table["row_id"][0]).row(0, named=True)
    assert variant["augmentation_digests"] == [table["augmentation_digest"][0], ""]


def test_what_is_said_is_left_alone_unless_asked_for(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    augment(SPEECH, RECIPE, lake)
    assert not lake.read_table("augmentations", SPEECH)["original"].str.ends_with(":tts").any()
    augment(SPEECH, RECIPE.model_copy(update={"tasks": ("tts",)}), lake)
    table = lake.read_table("augmentations", SPEECH)
    assert table.height and table["original"].str.ends_with(":tts").all()
    assert {name for text in table["augmentation"] for name in json.loads(text)} <= {"speed", "gain"}


def test_a_variant_is_its_original_but_for_name_length_and_licence(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    augment(SPEECH, RECIPE, lake)
    rows = with_variants(lake)
    originals = {row["row_id"]: row for row in rows.filter(~pl.col("row_id").str.contains("~")).to_dicts()}
    table = {row["row_id"]: row for row in lake.read_table("augmentations", SPEECH).to_dicts()}
    variants = rows.filter(pl.col("row_id").str.contains("~")).to_dicts()
    assert {row["row_id"] for row in variants} == set(table)
    for variant in variants:
        drawn = table[variant["row_id"]]
        original = originals[drawn["original"]]
        changed = {"row_id", "seconds", "licences", "augmentation_digests"}
        assert {k: v for k, v in variant.items() if k not in changed} == {
            k: v for k, v in original.items() if k not in changed
        }
        values = json.loads(drawn["augmentation"])
        longer = drawn["original_s"] / values.get("speed", 1.0) - drawn["original_s"]
        assert variant["seconds"] == pytest.approx(original["seconds"] + longer, abs=1e-4)
        assert variant["licences"] == (["CC-BY-4.0", "CC0-1.0"] if "noise" in values else ["CC0-1.0"])


def test_the_same_lake_gives_the_same_bytes_in_whatever_order_its_rows_lie(tmp_path: Path) -> None:
    tables = []
    for name, order in (("one", "row_id"), ("two", "line")):
        lake = make_lake(tmp_path / name)
        rows = lake.read_table("training_rows", SPEECH).sort(order, "row_id", descending=order == "line")
        lake.write_table("training_rows", SPEECH, rows)
        augment(SPEECH, RECIPE, lake)
        tables.append(Path(lake.full_path(lake.table_path("augmentations", SPEECH))).read_bytes())
    assert tables[0] == tables[1]


def test_other_rows_change_nothing_of_a_row(tmp_path: Path) -> None:
    few, many = make_lake(tmp_path / "few", train=3), make_lake(tmp_path / "many", train=30)
    for lake in (few, many):
        augment(SPEECH, RECIPE, lake)
    of_few = few.read_table("augmentations", SPEECH)
    assert of_few.equals(many.read_table("augmentations", SPEECH).join(of_few, on="row_id", how="semi"))


def test_drawn_again_only_when_something_changed(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    assert augment(SPEECH, RECIPE, lake).recomputed
    assert not augment(SPEECH, RECIPE, lake).recomputed
    louder = RECIPE.model_copy(update={"seed": 1})
    assert augment(SPEECH, louder, lake).recomputed
    street = lake.read_table("accepted_utterances", STREET)
    lake.write_table("accepted_utterances", STREET, street[1:])
    assert augment(SPEECH, louder, lake).recomputed
    assert augment(SPEECH, NO_RECIPE, lake).recomputed
    assert lake.read_table("augmentations", SPEECH).is_empty()
    lake.write_table(
        "training_rows", SPEECH, lake.read_table("training_rows", SPEECH).with_columns(speaker=pl.lit("bob"))
    )
    assert not augment(SPEECH, NO_RECIPE, lake).recomputed, "without a recipe no row matters"


def test_a_corpus_without_noise_is_named(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, noises=0)
    with pytest.raises(
        AugmentationError, match=r"corpus 'street' has no accepted recording of noise in its training split"
    ):
        augment(SPEECH, RECIPE, lake)


def test_rows_without_audio_and_without_a_table_are_let_be(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    rows = with_variants(lake)
    assert rows.height == lake.read_table("training_rows", SPEECH).height
    assert rows["augmentation_digests"].explode().unique().to_list() == [""]
    only_text = lake.read_table("training_rows", SPEECH).with_columns(
        pl.lit("text").alias("task"),
        *(pl.lit([], pl.List(pl.String)).alias(name) for name in ("audio_digests",)),
    )
    lake.write_table("training_rows", SPEECH, only_text)
    assert augment(SPEECH, Recipe(copies=1, gain=RECIPE.gain), lake).rows == 0


def test_every_audio_that_is_no_answer_is_heard() -> None:
    turns = [
        ("system", ""),
        ("user", "<|audio|> and <|audio|>"),
        ("assistant", "<|audio|>"),
        ("user", "<|audio|>"),
    ]
    assert heard_markers(json.dumps([{"role": role, "content": text} for role, text in turns])) == {0, 1, 3}
