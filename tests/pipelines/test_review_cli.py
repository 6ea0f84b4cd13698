"""voxline review: what waits for review is listed, exported and, once decided upon, taken back, by corpus and form."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import Settings, write_settings
from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.ledger import LedgerRow, write_ledger_part
from validation.schemas import TABLES, frame_from_rows

runner = CliRunner()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two corpora: of `one`, two rows of three are quarantined, of `two` its only one."""
    entry = {"reader": "librispeech", "root": "nowhere", "licence": "CC0-1.0", "language": "en"}
    document = {"corpora": [{"name": name, **entry} for name in ("one", "two")]}
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump(document))
    write_settings(tmp_path / "home", Settings(corpora=str(tmp_path / "corpora.yaml")))
    lake = Lake(str(tmp_path / "home" / "lake"))
    for corpus, names in {"one": ("a", "b", "good"), "two": ("z",)}.items():
        empty = {
            name: None if column.nullable else False
            for name, column in TABLES["raw_utterances"].to_schema().columns.items()
        }
        raw = {"corpus": corpus, "split": "train", "tasks": ["asr"], "speaker": "s", "language": "en"}
        raw |= {"licence": "CC0-1.0", "source_digest": "a" * 64}
        rows = [
            {
                **empty,
                **raw,
                "utterance_id": name,
                "source": f"f:{name}",
                "text": f"text [b]{name}",
                "audio_uri": f"/{name}.wav",
            }
            for name in names
        ]
        lake.write_table("raw_utterances", corpus, frame_from_rows("raw_utterances", rows))
        ends = (
            LedgerRow(
                corpus,
                name,
                f"f:{name}",
                "accepted_utterances",
                "accepted" if name == "good" else "dead_channel",
                f"{name} has one",
                1.0,
                0.0,
            )
            for name in names
        )
        write_ledger_part(lake, corpus, "accepted_utterances", ends)
    return tmp_path / "home"


def review(home: Path, *arguments: str) -> str:
    result = runner.invoke(app, ["review", *arguments, "--home", str(home)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_queue_is_listed_by_corpus(home: Path) -> None:
    everything = review(home, "list")
    assert "3 of 3 rows" in everything and "one: 2" in everything and "two: 1" in everything
    assert "dead_channel" in everything and "good" not in everything
    assert "2 of 2 rows" in review(home, "list", "--corpus", "one")
    assert "1 of 3 rows" in review(home, "list", "--limit", "1")
    with pytest.raises(ValueError, match=r"--corpus is 'three'; .*corpora.yaml has one, two"):
        review(home, "list", "--corpus", "three")


def test_a_csv_goes_out_and_comes_back(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "queue.csv"
    assert f"3 rows: {path}" in review(home, "export", "--output", str(path)).replace("\n", "")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["a", "b", "z"]
    rows[1]["decision"] = rows[2]["decision"] = "reject"
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert "2 decisions added" in review(home, "import", str(path), "--reviewer", "ann")
    assert "2 were known already" in review(home, "import", str(path), "--reviewer", "ann")
    assert "2 of them are decided" in review(home, "list")
    assert "1 rows" in review(home, "export", "--output", str(path))
    assert "3 rows" in review(home, "export", "--output", str(path), "--with-decided")


def test_tasks_for_label_studio_come_with_their_labelling_configuration(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    said = review(
        home,
        "export",
        "--format",
        "label-studio",
        "--output",
        str(path),
        "--corpus",
        "two",
        "--audio-url",
        "https://h/",
    )
    (task,) = json.loads(path.read_text(encoding="utf-8"))
    assert set(task) == {"data"} and task["data"]["id"] == "z" and task["data"]["audio"] == "/z.wav"
    configuration = ElementTree.parse(tmp_path / "tasks.config.xml").getroot()
    assert str(tmp_path / "tasks.config.xml") in said.replace("\n", "")
    named = {tag.get("value", "") for tag in configuration.iter() if tag.get("value", "").startswith("$")}
    wanted = {part.strip(",") for value in named for part in value.split() if part.startswith("$")}
    assert {name.removeprefix("$") for name in wanted} <= set(task["data"])
    controls = {tag.get("name") for tag in configuration.iter() if tag.get("toName") == "audio"}
    assert controls == {"decision", "corrected_text", "note"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["export", "--format", "xlsx", "--output", "x"],
            "--format is 'xlsx'; it may be csv or label-studio",
        ),
        (["import", "decisions.xlsx", "--reviewer", "ann"], "must end in .csv or .json"),
        (["import", "decisions.csv", "--reviewer", " "], "--reviewer is empty"),
        (["import", "nowhere.csv", "--reviewer", "ann"], "nowhere.csv: nothing was imported: cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        review(home, *arguments)


def test_a_corpus_that_is_asked_for_twice_is_exported_once(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "queue.csv"
    asked = ["--corpus", "two", "--corpus", "two", "--output", str(output), "--home", str(home)]
    answer = runner.invoke(app, ["review", "export", *asked])
    assert answer.exit_code == 0, answer.output
    with output.open(encoding="utf-8-sig", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 1


@pytest.mark.parametrize(("name", "said"), [("folder", "is a folder"), ("file/x.csv", "cannot be made")])
def test_an_output_that_cannot_be_is_an_error_of_its_user(
    home: Path, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=said) as error:
        runner.invoke(
            app,
            ["review", "export", "--output", str(tmp_path / name), "--home", str(home)],
            catch_exceptions=False,
        )
    assert str(tmp_path / name) in str(error.value)
