"""Pointers to present outputs outlive a move of the home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from assets.outputs import MissingOutputError, Outputs
from training_jobs.jobs import write_result

INPUTS = "0123456789abcdef" * 4


def finished(training_dir: Path) -> Outputs:
    outputs = Outputs(training_dir)
    write_result(outputs.directory("sft", INPUTS), {"steps": 3})
    outputs.publish("sft", INPUTS)
    return outputs


def test_a_copied_home_reads_its_own_outputs(tmp_path: Path) -> None:
    finished(tmp_path / "home" / "training")
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    shutil.rmtree(tmp_path / "home")
    output = Outputs(tmp_path / "copy" / "training").present("sft")
    assert output.path == tmp_path / "copy" / "training" / "sft" / INPUTS[:16]
    assert (output.path / "result.json").is_file()


def test_no_pointer_names_a_place_outside_its_home(tmp_path: Path) -> None:
    finished(tmp_path)
    for pointer in (tmp_path / "present").iterdir():
        assert str(tmp_path) not in pointer.read_text()


def test_the_published_output_is_the_one_that_is_found(tmp_path: Path) -> None:
    outputs = finished(tmp_path)
    found = outputs.present("sft")
    assert (found.asset, found.inputs) == ("sft", INPUTS)
    assert outputs.find("multi_mctp") is None
    with pytest.raises(MissingOutputError, match="multi_mctp has not been materialised"):
        outputs.present("multi_mctp")


def test_an_older_pointer_with_a_whole_path_still_holds(tmp_path: Path) -> None:
    outputs = finished(tmp_path)
    pointer = tmp_path / "present" / "sft.json"
    document = json.loads(pointer.read_text())
    pointer.write_text(json.dumps({**document, "directory": str(tmp_path / document["directory"])}))
    assert outputs.present("sft").path == tmp_path / "sft" / INPUTS[:16]
