"""``voxline corpora inspect``: its output is a list of entries in YAML, and the exit code says whether there is one."""

from __future__ import annotations

import yaml
from typer.testing import CliRunner

from pipelines.cli import app


def test_the_whole_output_is_the_entry_with_comments(tmp_path):
    (tmp_path / "one.wav").write_bytes(b"")
    (tmp_path / "one.txt").write_text("one")
    done = CliRunner().invoke(app, ["corpora", "inspect", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (entry,) = yaml.safe_load(done.output)
    assert (entry["reader"], entry["root"], entry["licence"]) == ("sidecar", str(tmp_path), "FILL_IN")
    assert "#   one | unknown | - | one | one.wav (empty_file: has 0 bytes)" in done.output


def test_a_folder_of_no_layout_is_said_to_be_one(tmp_path):
    (tmp_path / "README.md").write_text("none")
    done = CliRunner().invoke(app, ["corpora", "inspect", str(tmp_path)])
    assert done.exit_code == 1
    assert "NOT KNOWN" in done.output
