"""VITA-Audio's mixture files: as many rows of each file as its loader draws, and no file passed over in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from packs import CODES, Messages, pack_job, training_row, write_lake
from pydantic import ValidationError

from models import extend_text_tokenizer, make_byte_tokenizer
from training_jobs.drawing import Drawing
from training_jobs.jobs import PackJob
from training_jobs.mixture import Mixture, MixtureError
from training_jobs.pack import run
from training_jobs.plan import SAMPLES_FILE, read_plan
from training_jobs.profile import MixtureFile, MixtureItem
from training_jobs.upstream_mixture import upstream_items
from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.leakage_mixture import read_mixture
from validation.metadata import column_of, kind_of
from validation.schemas import polars_schema

PUBLISHED = Path(__file__).parents[1] / "validation/mixtures/vita_audio_stage1.yaml"

_TYPES = {"texts": pl.List(pl.String), "number": pl.Float64}


def written(tmp_path: Path, text: str) -> MixtureFile:
    path = tmp_path / "mixture.yaml"
    path.write_text(text)
    return MixtureFile(file=str(path))


def below(root: Path):
    """As if corpus ``c`` read every file."""
    return lambda path: ("c", str(Path(path).relative_to(root)))


def drawn_of_files(items: list[MixtureItem], sizes: list[int]) -> list[list[int]]:
    """How often each row of each file is drawn."""
    mixture = Mixture(items, ["c"])
    files = [item.file for item, size in zip(items, sizes, strict=True) for _ in range(size)]
    columns = {
        column_of(field): pl.Series([None] * len(files), dtype=_TYPES.get(kind_of(field), pl.String))
        for field in mixture.fields
    }
    rows = pl.DataFrame({"corpus": "c", "task": "asr", "seconds": 1.0, "data_file": files}).with_columns(
        **columns
    )
    drawing = Drawing(mixture)
    drawing.add(mixture.with_items(rows))
    times = np.bincount(drawing.draw(np.random.default_rng(0)), minlength=len(files))
    return [part.tolist() for part in np.split(times, np.cumsum(sizes)[:-1])]


def test_the_published_mixture_draws_what_upstreams_loader_draws(tmp_path: Path) -> None:
    items = upstream_items(MixtureFile(file=str(PUBLISHED), root=str(tmp_path)), below(tmp_path))
    expected = []
    sizes = []
    for number, (name, dataset) in enumerate(read_mixture(PUBLISHED).items()):
        for path in dataset.data_paths if dataset.ratio else ():
            sizes.append(3 + 7 * number)
            expected.append(
                (name, path.strip(), min(int(sizes[-1] * dataset.ratio), dataset.num or 999_999_999))
            )
    assert [(item.dataset, item.file) for item in items] == [one[:2] for one in expected]
    drawn = drawn_of_files(items, sizes)
    assert [sum(times) for times in drawn] == [count for *_, count in expected]
    assert "openslr" in {item.dataset for item in items} and "gpt-omni/VoiceAssistant-400K" not in {
        item.dataset for item in items
    }


@pytest.mark.parametrize(
    ("stated", "rows", "count"),
    [
        ("", 10, 10),
        ("ratio: 0.29", 100, 28),  # as floats have it: 100 * 0.29 is 28.999…
        ("ratio: 2.5", 7, 17),
        ("ratio: 2.5, num: 9", 7, 9),
        ("ratio: 1.0, num: 3", 7, 3),
        ("ratio: 0.1", 7, 0),
        ("num: 100", 7, 7),
    ],
)
def test_whole_passes_and_a_random_part_are_drawn_of_a_file(
    tmp_path: Path, stated: str, rows: int, count: int
) -> None:
    text = f"dataset:\n  one: {{data_paths: [a.jsonl]{', ' * bool(stated)}{stated}}}\n"
    items = upstream_items(written(tmp_path, text), below(tmp_path))
    (times,) = drawn_of_files(items, [rows])
    assert sum(times) == count
    assert max(times) - min(times) <= 1


def test_every_file_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    text = """
dataset:
  one: {ratio: 1.0, data_paths: [a.jsonl, "b.jsonl "]}
  off: {ratio: 0, data_paths: [nowhere.jsonl]}
  none: {num: 0, data_paths: [nowhere.jsonl]}
  two: {data_paths: [c.jsonl, a.jsonl]}
"""

    def find(path: str) -> tuple[str, str] | str:
        return ("c", Path(path).name) if path.endswith("a.jsonl") else f"there is no file {path}"

    with pytest.raises(ConfigurationError) as caught:
        upstream_items(written(tmp_path, text), find)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/mixture.yaml: 3 data files cannot be drawn from:",
        f"dataset one: b.jsonl: there is no file {tmp_path}/b.jsonl",
        f"dataset two: c.jsonl: there is no file {tmp_path}/c.jsonl",
        "dataset two: a.jsonl is drawn by dataset one already; name it once, with the sum of both ratios",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: {one: {ratio: -1, data_paths: [a]}}", "dataset.one: ratio: .*greater than or equal to 0"),
        ("dataset: {one: {ratio: 1}}", "dataset.one: data_paths"),
        ("dataset: {one: {ratio: 0, data_paths: [a]}}", "nothing is drawn"),
        ("datasets: {}", "dataset: got None"),
    ],
)
def test_a_file_that_is_no_mixture_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        upstream_items(written(tmp_path, text), below(tmp_path))


def test_a_mixture_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"mixture file 'nowhere.yaml' is 'nowhere.yaml', which is no file"
    ):
        upstream_items(MixtureFile(file="nowhere.yaml"), below(Path("/")))


@pytest.mark.parametrize(
    "values",
    [
        {"ratio": 1.0},
        {"ratio": 1.0, "task": "asr", "file": "a", "corpus": "c"},
        {"ratio": 1.0, "file": "a"},
        {"ratio": 1.0, "task": "asr", "at_most": 3},
    ],
)
def test_an_entry_is_for_a_task_or_for_a_file_of_a_corpus(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MixtureItem.model_validate(values)


def lake_of_two_files(root: Path) -> Lake:
    """Corpus ``c``: rows 0 to 4 were read from ``a.jsonl``, 5 to 9 from ``deep/b.jsonl``."""
    lake = write_lake(root, [training_row(number) for number in range(10)])
    names = ["a.jsonl" if number < 5 else "deep/b.jsonl" for number in range(10)]
    rows = [
        {"corpus": "c", "utterance_id": f"u{number}", "source": f"{name}:{number % 5 + 1}"}
        | {
            "split": "train",
            "tasks": ["asr"],
            "speaker": "ann",
            "language": "en",
            "text": "x",
            "licence": "CC0-1.0",
        }
        for number, name in enumerate(names)
    ]
    lake.write_table(
        "accepted_utterances",
        "c",
        pl.DataFrame(rows, schema=polars_schema("accepted_utterances"), orient="row"),
    )
    return lake


def packed(tmp_path: Path, *items: MixtureItem) -> PackJob:
    model_dir = tmp_path / "model"
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(model_dir)
    job = pack_job(tmp_path, model_dir, mixture=list(items))
    run(job, Messages().report)
    return job


def test_files_are_drawn_each_by_its_own_ratio(tmp_path: Path) -> None:
    lake_of_two_files(tmp_path / "lake")
    once = MixtureItem(dataset="one", corpus="c", file="a.jsonl", ratio=1.0, at_most=2)
    twice = MixtureItem(dataset="two", corpus="c", file="deep/b.jsonl", ratio=2.0)
    job = packed(tmp_path, once, twice)
    drawn = pl.read_parquet(job.output_dir / SAMPLES_FILE)["row_id"].value_counts().sort("row_id").rows()
    assert [count for _, count in drawn] == [1, 1, 2, 2, 2, 2, 2]
    entries = read_plan(job.output_dir)["entries"]
    assert {name: (one["rows"], one["drawn"], one["samples"]) for name, one in entries.items()} == {
        "0: one: a.jsonl of c": (5, 2, 2),
        "1: two: deep/b.jsonl of c": (5, 5, 10),
    }
    assert entries["1: two: deep/b.jsonl of c"]["hours"] == round(10 / 3600, 4)


def test_our_own_jsonl_is_a_data_file(tmp_path: Path) -> None:
    lake_of_two_files(tmp_path / "lake")
    own = MixtureItem(dataset="ours", corpus="c", file="train.jsonl", ratio=0.5)
    assert read_plan(packed(tmp_path, own).output_dir)["samples"] == 5


def test_a_file_without_training_rows_is_an_error(tmp_path: Path) -> None:
    lake_of_two_files(tmp_path / "lake")
    with pytest.raises(
        MixtureError, match=r"entry one: new\.jsonl of c: none of the training rows comes from this file"
    ):
        packed(tmp_path, MixtureItem(dataset="one", corpus="c", file="new.jsonl", ratio=1.0))
