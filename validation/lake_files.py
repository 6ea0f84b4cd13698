"""Files under one root URL (a directory, or ``s3://…`` through s3fs), written whole or not at all.

Apart from the tables so that the worker processes that write audio start without the table libraries.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import fsspec

from validation.errors import UserError


class LakeFiles:
    """Reads and writes files under ``root``.

    Args:
        root: A directory or an fsspec URL such as ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self._fs, path = fsspec.core.url_to_fs(root)
        self._is_local = "file" in (
            self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        )
        self.root: str = str(Path(path).resolve()) if self._is_local else path.rstrip("/")
        self.url: str = self.root if self._is_local else self._fs.unstrip_protocol(self.root)

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, for libraries that take one (DuckDB, pyarrow)."""
        return self._fs

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
        return bool(self._fs.exists(self.full_path(path)))

    def size(self, path: str) -> int | None:
        """Bytes of the file at ``path``; ``None`` where there is none."""
        return int(self._fs.size(self.full_path(path))) if self.exists(path) else None

    def open(self, path: str, mode: Literal["rb", "r"] = "rb") -> IO[Any]:
        """Open a file for reading."""
        opened: IO[Any] = self._fs.open(self.full_path(path), mode)
        return opened

    @contextmanager
    def atomic_write(self, path: str, durable: bool = True) -> Iterator[IO[bytes]]:
        """A binary file that appears under ``path`` only when the block ends without an error.

        Args:
            durable: Whether it must outlive a power failure from here on. Whoever writes thousands of small files says
                no, and calls :meth:`sync` before relying on them.
        """
        target = self.full_path(path)
        if not self._is_local:
            with self._fs.transaction, self._fs.open(target, "wb") as remote:
                yield remote
            return
        # A name of its own per writer, so that two runs never write into one another's file.
        place = Path(target)
        temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as local:
                yield local
                if durable:
                    local.flush()
                    os.fsync(local.fileno())
            temporary.replace(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def sync(self) -> None:
        """Make everything written so far outlive a power failure; an object store's files do already."""
        if self._is_local:
            os.sync()

    def write_json(self, path: str, value: Any) -> None:
        """Write ``value`` as JSON, atomically, with sorted keys."""
        with self.atomic_write(path) as stream:
            stream.write(json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1).encode())

    def read_json(self, path: str) -> Any | None:
        """The JSON value at ``path``; ``None`` where there is no such file."""
        if not self.exists(path):
            return None
        with self.open(path) as stream:
            return json.loads(stream.read())

    def list_files(self, prefix: str) -> list[str]:
        """Paths, relative to the root, of the files directly under the folder ``prefix``; sorted, no temporary ones."""
        folder = self.full_path(prefix)
        if not self._fs.isdir(folder):
            return []
        found = [str(name) for name in self._fs.ls(folder, detail=False)]
        names = [name.rstrip("/").rpartition("/")[2] for name in found]
        return sorted(f"{prefix}/{name}" for name in names if not name.startswith("."))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each file anywhere below the folder ``prefix``, by its path relative to the root, in one listing."""
        folder = self.full_path(prefix)
        if not self._is_local:
            # Another process may have written or removed some since this one last listed them.
            self._fs.invalidate_cache(folder)
            found = self._fs.find(folder, detail=True).items()
            return {f"{prefix}/{name[len(folder) + 1 :]}": int(info["size"]) for name, info in found}
        sizes: dict[str, int] = {}
        for place, _, names in os.walk(folder):
            below = prefix + place[len(folder) :]
            whole = [name for name in names if not name.startswith(".")]  # others are being written
            sizes.update({f"{below}/{name}": Path(place, name).stat().st_size for name in whole})
        return sizes
