"""What a program says is passed on, whatever becomes of its log."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from training_jobs.program_output import ProgramOutput

DEADLINE_S = 60.0


def test_a_log_without_room_does_not_hold_the_program_up() -> None:
    """Far more than a pipe holds: unread, the program would wait for ever."""
    program = [sys.executable, "-c", "print('x' * 1_000_000)"]
    argv = [sys.executable, "-m", "training_jobs.supervisor", "--log", "/dev/full", "--", *program]
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (answer.returncode, answer.stdout) == (0, "x" * 1_000_000 + "\n")


def test_where_lines_are_missing_the_log_says_how_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Log(io.FileIO):
        """Without room while ``is_full``; the first write that meets that still has room for 4 bytes."""

        is_full = False
        left = 4

        def write(self, data: bytes) -> int:  # type: ignore[override]
            if not self.is_full:
                return super().write(data)
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = super().write(data[: self.left])
            self.left -= written
            return written

    path = tmp_path / "log.txt"
    log = Log(path, "ab")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda self, *_, **__: log)
        output = ProgramOutput(path, quiet=True)

    def say(text: bytes) -> None:
        read, write = os.pipe()
        os.write(write, text)
        os.close(write)
        with os.fdopen(read, "rb") as source:
            output.pump(source, sys.stdout.buffer)
            output.close()

    say(b"one\n")
    log.is_full = True
    say(b"two lost\n")
    say(b"three\n")
    log.is_full = False
    say(b"four\n")
    assert path.read_bytes() == b"one\ntwo (11 bytes are missing here: No space left on device)\nfour\n"
    log.close()
