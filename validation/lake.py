"""The lake: Parquet tables, audio and JSONL under one root URL (a directory, or ``s3://…`` through s3fs).

Nothing half-written is ever visible: local files are written to a temporary name and renamed; an object store
shows an object only once its upload is complete.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal

import fsspec
import polars as pl

from validation.schemas import TABLES, TableName, empty_frame, validate_table

_log = logging.getLogger(__name__)


class MissingTableError(ValueError):
    """A table, or one partition of it, that has not been written yet."""


class Lake:
    """Reads and writes the tables and files under ``root``.

    Args:
        root: A directory or an fsspec URL such as ``s3://bucket/prefix``.
    """

    def __init__(self, root: str) -> None:
        self._fs, path = fsspec.core.url_to_fs(root)
        self._is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))
        self.root: str = os.path.abspath(path) if self._is_local else path.rstrip("/")
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
            ValueError: if ``path`` leaves the root.
        """
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise ValueError(f"path {path!r} leaves the lake {self.url}")
        return f"{self.root}/{path}"

    def uri(self, path: str) -> str:
        """What another program opens: an absolute path, or a URL for an object store."""
        return f"{self.url}/{path}"

    def exists(self, path: str) -> bool:
        """Whether a file lies at ``path``."""
        return bool(self._fs.exists(self.full_path(path)))

    def open(self, path: str, mode: Literal["rb", "r"] = "rb") -> IO[Any]:
        """Open a file for reading."""
        opened: IO[Any] = self._fs.open(self.full_path(path), mode)
        return opened

    @contextmanager
    def atomic_write(self, path: str) -> Iterator[IO[bytes]]:
        """A binary file that appears under ``path`` only when the block ends without an error."""
        target = self.full_path(path)
        if not self._is_local:
            with self._fs.transaction, self._fs.open(target, "wb") as remote:
                yield remote
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        # A name of its own per writer, so that two runs never write into one another's file.
        temporary = f"{os.path.dirname(target)}/.{os.path.basename(target)}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as local:
                yield local
                local.flush()
                os.fsync(local.fileno())
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

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
        names = [os.path.basename(name.rstrip("/")) for name in found]
        return sorted(f"{prefix}/{name}" for name in names if not name.startswith("."))

    # --- tables -----------------------------------------------------------------------------------------------

    def table_path(self, name: TableName, partition: str) -> str:
        """Path of one partition's Parquet file, relative to the root."""
        return f"tables/{name}/{partition}.parquet"

    def write_table(self, name: TableName, partition: str, frame: pl.DataFrame) -> None:
        """Validate ``frame`` against the table's contract and write it as one Parquet file.

        Raises:
            validation.schemas.ContractError: naming each bad row's column, check and value.
        """
        checked = validate_table(name, frame)
        with self.atomic_write(self.table_path(name, partition)) as stream:
            checked.write_parquet(stream, compression="zstd")

    def has_table(self, name: TableName, partition: str) -> bool:
        """Whether the partition has been written."""
        return self.exists(self.table_path(name, partition))

    def remove_table(self, name: TableName, partition: str) -> None:
        """Remove one partition, if it is there."""
        if self.has_table(name, partition):
            self._fs.rm(self.full_path(self.table_path(name, partition)))

    def read_table(self, name: TableName, partition: str | None = None) -> pl.DataFrame:
        """One partition, or all of them below each other (empty, with the right columns, where there is none).

        Raises:
            MissingTableError: if a partition is asked for that has not been written.
        """
        if partition is not None:
            path = self.table_path(name, partition)
            if not self.exists(path):
                raise MissingTableError(f"table {name} has no partition {partition!r} in {self.url}")
            return self._read_parquet(path)
        paths = [path for path in self.list_files(f"tables/{name}") if path.endswith(".parquet")]
        frames = [self._read_parquet(path) for path in paths]
        return pl.concat(frames) if frames else empty_frame(name)

    def _read_parquet(self, path: str) -> pl.DataFrame:
        with self.open(path) as stream:
            return pl.read_parquet(stream)

    # --- manifests: what a step's output was made from ----------------------------------------------------------

    def read_manifest(self, step: str, partition: str) -> dict[str, Any] | None:
        """What was recorded with the step's last output, or ``None``."""
        value = self.read_json(f"manifests/{step}/{partition}.json")
        assert value is None or isinstance(value, dict)
        return value

    def write_manifest(self, step: str, partition: str, inputs: str, summary: dict[str, Any]) -> None:
        """Record that the step's output for ``partition`` was made from ``inputs`` (a digest), with a summary."""
        self.write_json(f"manifests/{step}/{partition}.json", {"inputs": inputs, "summary": summary})


def known_tables() -> tuple[TableName, ...]:
    """Names of all tables, which are also the names of the SQL views."""
    return tuple(TABLES)
