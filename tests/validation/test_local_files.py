"""What a killed process leaves is taken away, what a living one works on is not, and turns end with their process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from validation import local_files
from validation.batches import database
from validation.lake import Lake
from validation.lake_files import LakeError, LakeFiles
from validation.schemas import frame_from_rows
from validation.scratch import ScratchError, scratch_room

_REPOSITORY = Path(__file__).resolve().parents[2]
_WORKS = """
import sys
from validation.lake_files import LakeFiles
from validation.local_files import spill_folder

lake = LakeFiles(sys.argv[1])
with lake.turn("one"), spill_folder() as spill, lake.atomic_write("a/x") as stream:
    stream.write(b"half")
    stream.flush()
    (spill / "block").write_bytes(b"much")
    print("works", flush=True)
    sys.stdin.read()
"""


class Full(local_files.NewFile):
    """Has no room."""

    def write(self, _: Any) -> int:
        self.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise self.failure


@pytest.fixture
def lake(tmp_path: Path) -> LakeFiles:
    return LakeFiles(str(tmp_path / "lake"))


@pytest.fixture
def other(
    lake: LakeFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of writing a file of the lake."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(local_files.tempfile, "tempdir", str(scratch))
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY), "TMPDIR": str(scratch)}
    command = [sys.executable, "-c", _WORKS, lake.root]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "works\n"
        yield process
        process.kill()


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("?*.tmp"))


def test_only_what_the_dead_leave_is_taken_away(
    lake: LakeFiles, tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    lake.remove_leftovers()
    local_files.remove_old_spills.cache_clear()
    with local_files.spill_folder():
        pass
    working = left(tmp_path)
    assert len(working) == 2 and not lake.exists("a/x")
    other.kill()
    other.wait()
    assert left(tmp_path) == working
    lake.remove_leftovers()
    local_files.remove_old_spills.cache_clear()
    with local_files.spill_folder():
        pass
    assert left(tmp_path) == []


def test_what_somebody_else_put_in_the_place_of_a_leftover_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"kept")
    (tmp_path / ".link.tmp").symlink_to(kept)
    os.mkfifo(tmp_path / ".pipe.tmp")
    local_files.remove_leftovers(tmp_path)
    assert (kept / "file").exists()


def test_a_turn_is_waited_for_and_ends_with_its_process(
    lake: LakeFiles,
    other: subprocess.Popen[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lake.turn("two"):
        assert caplog.messages == []
    really = local_files.fcntl.flock

    def flock(stream: Any, operation: int) -> None:
        if not operation & local_files.fcntl.LOCK_NB:  # about to wait
            other.kill()
        really(stream, operation)

    monkeypatch.setattr(local_files.fcntl, "flock", flock)
    with lake.turn("one"):
        assert "one: another run is at it" in caplog.messages[0]


def test_a_file_that_cannot_be_written_is_named_whoever_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local_files.os, "fsync", full)
    lake = Lake(str(tmp_path))
    told = "tables/leakage/x.parquet cannot be written: No space left on device"
    with pytest.raises(LakeError, match=told):
        lake.write_table("leakage", "x", frame_from_rows("leakage", []))
    monkeypatch.undo()
    monkeypatch.setattr(local_files, "NewFile", Full)
    with (
        pytest.raises(LakeError, match="cannot be written: No space left"),
        lake.atomic_write("x.parquet") as to,
    ):
        pl.DataFrame({"a": range(100)}).write_parquet(to)  # which says it in words of its own
    assert not lake.exists("x.parquet") and left(tmp_path) == []


def test_what_must_last_has_its_name_on_the_disk_too(
    lake: LakeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really(descriptor)

    monkeypatch.setattr(local_files.os, "fsync", fsync)
    lake.write_bytes("audio/x.wav", b"x", durable=False)
    assert synced == []
    lake.write_bytes("tables/x.parquet", b"x")
    assert synced[1:] == ["tables"]


def test_an_error_of_whoever_writes_stays_what_it_is(lake: LakeFiles) -> None:
    with pytest.raises(PermissionError, match="somebody"), lake.atomic_write("x"):
        raise PermissionError("somebody else's")
    assert not lake.exists("x")


def test_a_folder_in_which_nothing_can_be_made_is_named(lake: LakeFiles) -> None:
    Path(lake.root).write_bytes(b"a file")
    for work in (lambda: lake.write_bytes("x", b""), lambda: lake.turn("x").__enter__()):
        with pytest.raises(LakeError, match="cannot be written: "):
            work()


def test_scratch_space_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ScratchError, match=f"{tmp_path}: .*No space left"), scratch_room():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(ScratchError, match=str(tmp_path)),
        database(Lake(str(tmp_path / "lake"))) as connection,
    ):
        connection.execute("SET max_temp_directory_size = '1MB'; SET memory_limit = '40MB'")
        connection.execute("CREATE TABLE t AS SELECT random()::VARCHAR AS a, range AS b FROM range(4000000)")
        connection.execute("SELECT * FROM t ORDER BY a LIMIT 1 OFFSET 3000000").fetchall()
    with pytest.raises(duckdb.ParserException), database(Lake(str(tmp_path / "lake"))) as connection:
        connection.execute("no statement")
