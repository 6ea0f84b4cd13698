"""The lake: Parquet tables, audio and JSONL under one root URL (a directory, or ``s3://…`` through s3fs).

Nothing half-written is ever visible: local files are written to a temporary name and renamed; an object store
shows an object only once its upload is complete.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from validation.errors import UserError
from validation.lake_files import LakeFiles
from validation.schemas import ContractError, TableName, empty_frame, validate_table


class MissingTableError(UserError):
    """A table, or one partition of it, that has not been written yet."""


class Lake(LakeFiles):
    """Reads and writes the tables, manifests and files under ``root``.

    Args:
        root: A directory or an fsspec URL such as ``s3://bucket/prefix``.
    """

    # --- tables -----------------------------------------------------------------------------------------------

    def table_path(self, name: TableName, partition: str) -> str:
        """Path of one partition's Parquet file, relative to the root."""
        return f"tables/{name}/{partition}.parquet"

    def write_table(self, name: TableName, partition: str, frame: pl.DataFrame) -> None:
        """Validate ``frame`` against the table's contract and write it as one Parquet file.

        Raises:
            validation.schemas.ContractError: naming partition, row, column, check and value; all failures stand in the
                table ``contract_failures``.
        """
        try:
            checked = validate_table(name, partition, frame)
        except ContractError as error:
            raise self.keep_failures(error) from error
        with self.atomic_write(self.table_path(name, partition)) as stream:
            checked.write_parquet(stream, compression="zstd")
        self.drop_failures(name, partition)

    def keep_failures(self, error: ContractError) -> ContractError:
        """Write the rows that break a contract into ``contract_failures``; gives the error that says so."""
        path = self.table_path("contract_failures", f"{error.table}--{error.partition}")
        with self.atomic_write(path) as stream:
            error.table_rows().write_parquet(stream, compression="zstd")
        return error.kept()

    def drop_failures(self, name: TableName, partition: str) -> None:
        """Forget the failures of a partition that has been written."""
        self.remove_table("contract_failures", f"{name}--{partition}")

    def has_table(self, name: TableName, partition: str) -> bool:
        """Whether the partition has been written."""
        return self.exists(self.table_path(name, partition))

    def remove_table(self, name: TableName, partition: str) -> None:
        """Remove one partition, if it is there."""
        self.remove(self.table_path(name, partition))

    def read_table(self, name: TableName, partition: str | None = None) -> pl.DataFrame:
        """One partition, or all of them below each other (empty, with the right columns, where there is none).

        Raises:
            MissingTableError: if a partition is asked for that has not been written.
        """
        if partition is not None:
            try:
                return self._read_parquet(self.table_path(name, partition))
            except FileNotFoundError as error:
                raise MissingTableError(
                    f"table {name} has no partition {partition!r} in {self.url}"
                ) from error
        paths = [path for path in self.list_files(f"tables/{name}") if path.endswith(".parquet")]
        frames = [self._read_parquet(path) for path in paths]
        return pl.concat(frames) if frames else empty_frame(name)

    def _read_parquet(self, path: str) -> pl.DataFrame:
        # By one request where the lake is an object store; columns alone are read by validation.batches.
        return pl.read_parquet(self.read_bytes(path))

    # --- manifests: what a step's output was made from ----------------------------------------------------------

    def read_manifest(self, step: str, partition: str) -> dict[str, Any] | None:
        """What was recorded with the step's last output, or ``None``."""
        value = self.read_json(f"manifests/{step}/{partition}.json")
        assert value is None or isinstance(value, dict)
        return value

    def write_manifest(self, step: str, partition: str, inputs: str, summary: dict[str, Any]) -> None:
        """Record that the step's output for ``partition`` was made from ``inputs`` (a digest), with a summary."""
        self.write_json(f"manifests/{step}/{partition}.json", {"inputs": inputs, "summary": summary})
