"""Files under one root URL (a directory, or ``s3://…`` through s3fs), written whole or not at all.

Apart from the tables so that the worker processes that write audio start without the table libraries.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Literal

from validation.digests import digest_stream
from validation.errors import UserError
from validation.local_files import new_file, remove_leftovers, turn_at
from validation.remote import filesystem_of, is_s3, shared_store

_HIDDEN = "."
_ASIDE = ".tmp"  # where files are written that have no name yet
_TURNS = ".turns"
# Below this size an object is written as quickly as it is asked for: stored audio of about ten seconds.
_WORTH_ASKING_BYTES = 1 << 20


class LakeError(UserError):
    """A file of the lake that cannot be written or asked for: a full disk, a folder of others'; names both."""


class LakeFiles:
    """Reads and writes files under ``root``.

    Args:
        root: A directory or a URL such as ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._is_s3 = is_s3(root)
        filesystem, path = filesystem_of(root)
        protocols = filesystem.protocol
        self._is_local = "file" in (protocols if isinstance(protocols, tuple) else (protocols,))
        self.root: str = str(Path(path).resolve()) if self._is_local else path.rstrip("/")
        self.url: str = self.root if self._is_local else filesystem.unstrip_protocol(self.root)

    @property
    def _fs(self) -> Any:
        # Asked for each time: the client of a store does not outlive a fork.
        return filesystem_of(self._root)[0]

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, for DuckDB, whose threads share what it opens."""
        return shared_store() if self._is_s3 else self._fs

    def asked_once(self) -> AbstractContextManager[None]:
        """A block in which queries through :attr:`filesystem` ask a store for each object once."""
        return shared_store().asked_once() if self._is_s3 else nullcontext()

    @property
    def is_local(self) -> bool:
        """Whether the root is a directory of this machine."""
        return self._is_local

    def full_path(self, path: str) -> str:
        """The path inside the file system of a path relative to the root.

        Raises:
            UserError: if ``path`` leaves the root.
        """
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise UserError(f"path {path!r} leaves the lake {self.url}")
        return f"{self.root}/{path}"

    def uri(self, path: str) -> str:
        """What another program opens: an absolute path, or a URL for an object store."""
        return f"{self.url}/{path}"

    def exists(self, path: str) -> bool:
        """Whether a file lies at ``path``."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of the file at ``path``; ``None`` where there is none.

        Raises:
            LakeError, validation.remote.StoreError: if it cannot be asked for.
        """
        full = self.full_path(path)
        if self._is_local:
            try:
                return os.stat(full).st_size  # noqa: PTH116 - a tenth of the time of a path object
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise LakeError(f"{self.uri(path)} cannot be read: {error.strerror or error}") from error
        if self._is_s3:
            found = self._fs.head(full)
            return None if found is None else int(found["ContentLength"])
        return int(self._fs.size(full)) if self._fs.isfile(full) else None

    def open(self, path: str, mode: Literal["rb", "r"] = "rb") -> IO[Any]:
        """Open a file for reading; one in an object store that is not there says so when it is read."""
        opened: IO[Any] = self._fs.open(self.full_path(path), mode)
        return opened

    def read_bytes(self, path: str) -> bytes:
        """All of a file, by one request where it lies in an object store.

        Raises:
            FileNotFoundError: if there is none.
        """
        with self.open(path) as stream:
            data: bytes = stream.read()
        return data

    @contextmanager
    def atomic_write(self, path: str, durable: bool = True) -> Iterator[IO[bytes]]:
        """A binary file that appears under ``path`` only when the block ends without an error.

        Args:
            durable: Whether it must outlive a power failure from here on. Whoever writes thousands of small files says
                no, and calls :meth:`sync` before relying on them.

        Raises:
            LakeError: naming file and cause, such as a full disk.
            validation.remote.StoreError: if an object store does not take it, or keeps something else.
        """
        target = self.full_path(path)
        if self._is_s3:
            with self._fs.writer(target) as remote:
                yield remote
            return
        if not self._is_local:
            with io.BytesIO() as held:
                yield held
                self._fs.pipe_file(target, held.getvalue())
            return
        place = Path(target)
        try:
            stream = new_file(Path(self.root, _ASIDE), place)
        except OSError as error:
            raise self._not_written(path, error) from error
        try:
            yield stream
            stream.take_place(place, durable)
        except Exception as error:
            stream.drop()
            # Libraries that were writing tell it as a fault of what they wrote.
            if stream.failure is not None:
                raise self._not_written(path, stream.failure) from error
            raise
        except BaseException:
            stream.drop()
            raise

    def _not_written(self, path: str, error: OSError) -> LakeError:
        return LakeError(f"{self.uri(path)} cannot be written: {error.strerror or error}")

    def remove_leftovers(self) -> None:
        """Take away what writers left half-written that were killed."""
        if self._is_local:
            remove_leftovers(Path(self.root, _ASIDE))

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """One run at a time is in such a block of one name; it ends with the process, however that ends.

        In an object store runs do not wait for one another: each writes whole objects, and the last one's stay.
        """
        with ExitStack() as stack:
            if self._is_local:
                try:
                    stack.enter_context(turn_at(Path(self.root, _TURNS, name)))
                except OSError as error:
                    raise self._not_written(f"{_TURNS}/{name}", error) from error
            yield

    def is_known_whole(self, path: str, size: int) -> bool:
        """Whether a file whose name says its content lies at ``path``, whole; ``False`` where asking costs too much.

        Args:
            size: The bytes that it has if it is whole. A small one is written to an object store as soon as asked for.
        """
        return (not self._is_s3 or size > _WORTH_ASKING_BYTES) and self.size(path) == size

    def digest(self, path: str) -> str | None:
        """A digest that changes with the content of the file at ``path``; ``None`` where there is none.

        In an object store it is the one that the store keeps, so that the object is not read.
        """
        if self._is_s3:
            found = self._fs.head(self.full_path(path))
            if found is None:
                return None
            return f"{found['ETag']} {found['ContentLength']}"
        try:
            with self.open(path) as stream:
                return digest_stream(stream)
        except FileNotFoundError:
            return None

    def write_bytes(self, path: str, data: bytes | memoryview, durable: bool = True) -> None:
        """Write a whole file, atomically.

        Raises:
            LakeError, validation.remote.StoreError: if it cannot be written.
        """
        with self.atomic_write(path, durable) as stream:
            stream.write(data)

    def remove(self, path: str) -> None:
        """Remove the file at ``path``, if it is there."""
        full = self.full_path(path)
        if self._is_local:
            Path(full).unlink(missing_ok=True)
        elif self._is_s3:
            self._fs.remove(full)
        elif self._fs.exists(full):
            self._fs.rm_file(full)

    def check(self) -> None:
        """Ask whether the lake can be read and written, before any work relies on it.

        Raises:
            LakeError, validation.remote.StoreError: naming the place, what is wrong with it and what to do.
        """
        if self._is_s3:
            self._fs.check(self.root)
        elif self._is_local:
            place = next(one for one in (Path(self.root), *Path(self.root).parents) if one.exists())
            if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
                raise LakeError(f"lake {self.root}: {place} is no directory that may be written")

    def sync(self) -> None:
        """Make everything written so far outlive a power failure; an object store's files do already."""
        if self._is_local:
            os.sync()

    def write_json(self, path: str, value: Any) -> None:
        """Write ``value`` as JSON, atomically, with sorted keys."""
        self.write_bytes(path, json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1).encode())

    def read_json(self, path: str) -> Any | None:
        """The JSON value at ``path``; ``None`` where there is no such file."""
        try:
            return json.loads(self.read_bytes(path))
        except FileNotFoundError:
            return None

    def list_files(self, prefix: str) -> list[str]:
        """Paths, relative to the root, of the files directly under the folder ``prefix``; sorted, no temporary ones."""
        folder = self.full_path(prefix)
        if self._is_s3:
            names = self._fs.names(folder)
        elif not self._fs.isdir(folder):
            return []
        else:
            found = [str(name) for name in self._fs.ls(folder, detail=False)]
            names = (name.rstrip("/").rpartition("/")[2] for name in found)
        return sorted(f"{prefix}/{name}" for name in names if name and not name.startswith(_HIDDEN))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each file anywhere below the folder ``prefix``, by its path relative to the root, in one listing."""
        return dict(self.walk(prefix))

    def walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Path, relative to the root, and bytes of each file anywhere below the folder ``prefix``, in no order."""
        folder = self.full_path(prefix)
        if self._is_s3:
            for one in self._fs.objects(folder):
                if not one.name.endswith("/"):  # what consoles make for an empty folder
                    yield f"{prefix}/{one.name}", one.size
        elif not self._is_local:
            for name, info in self._fs.find(folder, detail=True).items():
                yield f"{prefix}/{name[len(folder) + 1 :]}", int(info["size"])
        else:
            for place, _, names in os.walk(folder):
                below = prefix + place[len(folder) :]
                for name in names:
                    if not name.startswith(_HIDDEN):  # others are being written
                        yield f"{below}/{name}", os.stat(f"{place}/{name}").st_size  # noqa: PTH116
