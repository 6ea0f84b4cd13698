"""A checkpoint's files: written through to the disk, described by size and digest, and read back.

DeepSpeed's ranks meet several times while they save. A rank whose disk is full must not miss one of those meetings, or
the others wait for it for ever: so it keeps the fault, goes on, and tells it to the others afterwards.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training_jobs.history import History
from validation.local_files import sync
from validation.strict import Strict, explain

STATE_FILE = "state.json"
_MORE = b"\0" * (64 << 10)


class FileDigest(Strict):
    """Size and SHA-256 of one file."""

    bytes: int
    sha256: str


class State(Strict):
    """What ``state.json`` holds.

    Attributes:
        world_size: ranks that wrote it.
        zero_stage: DeepSpeed's, by which the files are laid out.
        files: those of DeepSpeed beside it.
    """

    steps_done: int
    fingerprint: str
    world_size: int
    zero_stage: int
    files: dict[str, FileDigest]
    history: History

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files.values())


class Written:
    """What one rank has written of a checkpoint: DeepSpeed's checkpoint engine, with another way to save.

    Attributes:
        files: those that are on the disk, by name.
        fault: why one could not be written; nothing was written after it.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.files: dict[str, FileDigest] = {}
        self.fault: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        """Write one file through to the disk, or keep the fault."""
        if self.fault is not None:
            return
        try:
            self._engine.save(state_dict, path)
            sync(Path(path))
            self.files[Path(path).name] = describe(Path(path))
        except OSError as error:
            self.fault = fault_said(Path(path), error)
        except RuntimeError as error:  # torch's for a write that failed: it does not say why
            self.fault = fault_said(Path(path), _refusal(Path(path)) or error)


@contextmanager
def writing(engine: Any) -> Iterator[Written]:
    """Within the block ``engine.save_checkpoint`` raises nothing where a file cannot be written."""
    written = Written(engine.checkpoint_engine)
    engine.checkpoint_engine = written
    # It would copy scripts beside the checkpoint, which nobody needs and a full disk has no room for.
    engine._copy_recovery_script = lambda save_path: None
    try:
        yield written
    finally:
        engine.checkpoint_engine = written._engine
        del engine._copy_recovery_script


def write_state(directory: Path, state: State) -> None:
    """Write ``state.json`` into a checkpoint's directory, through to the disk."""
    path = directory / STATE_FILE
    path.write_text(state.model_dump_json(), encoding="utf-8")
    sync(path)
    sync(directory)


def read_state(directory: Path) -> State:
    """The checkpoint's ``state.json``.

    Raises:
        OSError: if it cannot be read.
        ValidationError: if something is missing in it, or is not what it should be.
    """
    return State.model_validate_json((directory / STATE_FILE).read_bytes())


def usable_state(directory: Path, fingerprint: str) -> State | str:
    """The state of a checkpoint whose files are what was written; or why it cannot be used."""
    try:
        state = read_state(directory)
    except OSError as error:
        return f"{STATE_FILE} cannot be read ({error})"
    except ValidationError as error:
        return f"{STATE_FILE} cannot be read ({explain(error)})"
    if state.fingerprint != fingerprint:
        return "it belongs to other hyper-parameters, start weights or data"
    for name, expected in state.files.items():
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected.bytes:
            return f"{name} has {path.stat().st_size} bytes, {expected.bytes} were written"
        if describe(path) != expected:
            return f"{name} has changed since it was written"
    return state


def describe(path: Path) -> FileDigest:
    """Size and digest of a file, as it reads now."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileDigest(bytes=path.stat().st_size, sha256=digest)


def _refusal(path: Path) -> OSError | None:
    """What the system says when more is to be written to a file that is given up; nothing, where it lets us."""
    try:
        with path.open("ab") as stream:
            stream.write(_MORE)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    return None


def fault_said(path: Path, error: Exception) -> str:
    """Why ``path`` could not be written, in one line, with the room that is left there."""
    there = path if path.exists() else path.parent
    left = f", {shutil.disk_usage(there).free:,} bytes are free" if there.exists() else ""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
    return f"{path}: {why}{left}"
