"""Files of this machine that are written under a name of their own, and turns that processes take.

Whoever writes a file, or uses a folder of scratch space, holds a lock of the kernel's on it, which ends with the
process, also by ``kill -9``. What lies there unlocked is nobody's any more, and whoever comes next takes it away.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_log = logging.getLogger(__name__)
_ENDING = ".tmp"
_SPILL = "voxline-spill-"


class NewFile(io.BufferedWriter):
    """A file that is being written aside, until it takes its place.

    Attributes:
        failure: Why it could not be written; what was given the file to write into may say so in other words.
    """

    def __init__(self, folder: Path) -> None:
        self.failure: OSError | None = None
        raw = _new_in(folder)
        self._path = Path(raw.name)
        super().__init__(raw)

    def write(self, data: ReadableBuffer) -> int:
        """As of any file."""
        with self._noticed():
            return super().write(data)

    def flush(self) -> None:
        """As of any file."""
        with self._noticed():
            super().flush()

    def take_place(self, place: Path, durable: bool) -> None:
        """Be the file at ``place``.

        Args:
            durable: Whether it must outlive a power failure from here on.

        Raises:
            OSError: if that cannot be.
        """
        with self._noticed():
            self.flush()
            if durable:
                os.fsync(self.fileno())
            # Before it is closed: the lock goes then, and a file without one is taken away.
            self._path.replace(place)
            if durable:
                sync(place.parent)  # where the new name stands
        self.close()

    def drop(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):  # a full disk refuses what is still held, too
            self.close()
        self._path.unlink(missing_ok=True)

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_file(folder: Path, place: Path) -> NewFile:
    """A file to be written, which is to lie at ``place``.

    Args:
        folder: Where it is written; beside ``place`` if that is on another disk.

    Raises:
        OSError: if it cannot be made.
    """
    try:
        is_near = folder.stat().st_dev == place.parent.stat().st_dev
    except FileNotFoundError:
        for one in (folder, place.parent):
            one.mkdir(parents=True, exist_ok=True)
        is_near = folder.stat().st_dev == place.parent.stat().st_dev
    return NewFile(folder if is_near else place.parent)


def remove_leftovers(folder: Path) -> None:
    """Take away what processes left that were killed."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_ENDING):
                remove_if_left(Path(entry.path))


@contextmanager
def turn_at(file: Path) -> Iterator[None]:
    """One process at a time is in such a block of one file; it lasts until the block, or the process, ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        if _lock(stream.fileno()) == "another's":
            _log.warning("%s: another run is at it; this one waits until it is done", file.name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def spill_folder() -> Iterator[Path]:
    """A folder of scratch space, which goes with the block; after a kill, when another process makes its first one."""
    base = Path(tempfile.gettempdir())
    remove_old_spills(base)
    folder, descriptor = _claimed_folder(base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@lru_cache
def remove_old_spills(base: Path) -> None:
    """Take away the folders of scratch space of processes that were killed, once."""
    for old in base.glob(f"{_SPILL}*{_ENDING}"):
        remove_if_left(old)


def claimed(path: Path) -> io.FileIO:
    """A new file of that name, empty and ours until it is closed.

    Raises:
        FileExistsError: if there is one.
    """
    while True:
        raw = io.FileIO(path, "xb")
        if _is_ours(raw.fileno()):
            return raw
        raw.close()


def _new_in(folder: Path) -> io.FileIO:
    return claimed(folder / f".{uuid.uuid4().hex}{_ENDING}")


def _claimed_folder(base: Path) -> tuple[Path, int]:
    """A new folder, ours, and its descriptor."""
    while True:
        folder = Path(tempfile.mkdtemp(_ENDING, _SPILL, base))
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if _is_ours(descriptor):
                return folder, descriptor
            os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Lock what is new, unless whoever removes leftovers came between its making and its lock."""
    return _lock(descriptor) != "another's" and os.fstat(descriptor).st_nlink > 0


def remove_if_left(path: Path) -> None:
    """Take away a file or folder that no living process has locked."""
    # In a folder of everybody's, the name may be anything, and anybody's.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(descriptor) == "ours":
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> Literal["ours", "another's", "unknown"]:
    """Whose the lock of an open file or folder is now; unknown where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "another's"
    except OSError:
        return "unknown"
    return "ours"
