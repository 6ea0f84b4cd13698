"""Files that take their place whole, and what is left of those whose writer was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from validation.atomic import replacing, write_text

_PROGRAM = """
import os, signal, sys
from pathlib import Path
from validation.atomic import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    killed = subprocess.run([sys.executable, "-c", _PROGRAM, path], cwd=Path.cwd(), check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.endswith(".tmp")
    write_text(path, "whole")
    assert names(tmp_path) == ["rows.parquet"]
    assert path.read_text(encoding="utf-8") == "whole"


def test_what_another_is_writing_stays_and_nobody_elses_files_go(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    others = tmp_path / ".rows.parquet.mine.tmp"
    others.touch()
    with replacing(path) as first:
        first.write_text("first")
        write_text(path, "second")
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert names(tmp_path) == [others.name, path.name]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_text(path, "old")
    with pytest.raises(ValueError, match="half way"), replacing(path) as temporary:
        temporary.write_text("new")
        raise ValueError("half way")
    assert names(tmp_path) == ["rows.parquet"]
    assert path.read_text() == "old"
