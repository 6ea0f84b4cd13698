"""Where the audio that rows name lies, and its digest: files, members of tars, values of columns, each read once.

What is found is kept on disk, so that a corpus of any size and in any order is located without sitting in memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.audio.column_names import is_columnar, split_value, value_name
from assets.audio.columns import ColumnFile
from assets.audio.members import member_name, split_member, tar_members
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.corpora.name_set import NameSet
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.utterance import Row, SourceProblem
from validation.batches import batches_of_file
from validation.lake import Lake
from validation.ledger import Reason
from validation.remote import is_s3

_THREADS, _STORE_THREADS = 4, 16  # hashing frees the interpreter; those of a store wait for answers
_BLOCK_BYTES = 1 << 20
_CACHE_KIB = 1 << 11
_TOGETHER = 16  # files to a thread: handing over takes as long as a short one
_ROWS = 4_096
_COLUMNS = ("uri", "file", "digest", "offset", "size", "reason", "detail", "value", "allowed")
_INSERT = "INSERT OR REPLACE INTO source VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KEPT = pa.schema(
    [
        ("uri", pa.string()),
        ("file", pa.string()),
        ("version", pa.string()),
        ("digest", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("value", pa.float64()),
        ("allowed", pa.float64()),
    ]
)
# What could not be read may be another time; what is wrong with a tar's member stays. Where a recording is forgotten,
# its file as a whole is too: else all that lies there would be taken for known.
_KEEP = """
    SELECT uri, file, digest, offset, size, reason, detail, value, allowed FROM source
    WHERE (reason IS NULL OR offset IS NOT NULL) AND uri NOT IN (SELECT uri FROM gone)
    AND (offset IS NOT NULL OR file NOT IN (SELECT file FROM source JOIN gone USING (uri)))
    ORDER BY uri"""


@dataclass(frozen=True, slots=True)
class Located:
    """One recording as it lies below the root.

    Attributes:
        uri: Path or URL of the file, with the member's name where it lies in a tar.
        offset: First byte of a member in its tar, row of a column; ``None``: the file is the recording.
        size: Bytes of the file or the member.
    """

    uri: str
    digest: str
    offset: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A row of the index: a recording, or why it is none; ``offset`` of a member of a tar is known in any case."""

    uri: str
    file: str
    digest: str | None = None
    offset: int | None = None
    size: int | None = None
    reason: Reason | None = None
    detail: str | None = None
    value: float | None = None
    allowed: float | None = None

    def row(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _COLUMNS)


class Sources:
    """Locates the audio of rows."""

    def __init__(self, root: CorpusRoot) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(_STORE_THREADS if is_s3(root.uri("")) else _THREADS)
        self._lock = threading.Lock()
        # A file of SQLite's own that goes with the connection.
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE source (uri TEXT PRIMARY KEY, file TEXT, digest TEXT, offset INTEGER, size INTEGER, "
            "reason TEXT, detail TEXT, value REAL, allowed REAL) WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE gone (uri TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._database.close()

    def remember(self, lake: Lake, path: str) -> None:
        """Take over what an earlier run kept of files that have the same size and version now: none is read again."""
        if not lake.exists(path):
            return
        with lake.open(path) as stream, pq.ParquetFile(stream) as file:
            if file.schema_arrow.names != _KEPT.names:
                return  # of an earlier version, which did not keep what is wrong with members
            for batch in batches_of_file(file, _ROWS):
                rows = batch.to_dicts()
                versions = {name: self._version(name) for name in {row["file"] for row in rows}}
                self._keep(
                    _Found(*(row[name] for name in _COLUMNS))
                    for row in rows
                    if versions[row["file"]] == row["version"]
                )

    def keep(self, lake: Lake, path: str) -> None:
        """Keep what was found for :meth:`remember`; what could not be read is not among it."""
        found = self._database.execute(_KEEP)
        with (
            lake.atomic_write(path) as stream,
            pq.ParquetWriter(stream, _KEPT, compression="zstd") as writer,
        ):
            while rows := found.fetchmany(_ROWS):
                uris, files, *rest = zip(*rows, strict=True)
                versions = {name: self._version(name) for name in set(files)}
                columns = [uris, files, [versions[name] for name in files], *rest]
                writer.write_table(pa.table(columns, schema=_KEPT))

    def forget(self, uri: str) -> None:
        """Keep nothing of a recording: it is located as long as this lasts, and :meth:`keep` leaves it out."""
        self._database.execute("INSERT OR IGNORE INTO gone VALUES (?)", (uri,))

    def _version(self, name: str) -> str | None:
        fact = self._root.files.fact(name)
        return None if fact is None else f"{fact.size} {fact.version}"

    def locate(self, rows: Sequence[Row]) -> list[Located | SourceProblem | None]:
        """Where each row's audio lies, or why it is not to be had; ``None`` for a row without any."""
        named = [self._named(row) for row in rows]
        places = dict.fromkeys(place for place in named if isinstance(place, tuple))
        missing = [place for place in places if self._get(self._uri(place)) is None]
        jobs = dict.fromkeys((name, _group(name, member)) for name, member in missing)
        asked = [job for job in jobs if job[1] is None or self._get(self._whole(*job)) is None]
        shares = [asked[first : first + _TOGETHER] for first in range(0, len(asked), _TOGETHER)]
        list(self._threads.map(self._read_all, shares))  # what a thread raises is raised here
        return [
            self._answer(row, place) if isinstance(place, tuple) else place
            for row, place in zip(rows, named, strict=True)
        ]

    def _named(self, row: Row) -> tuple[str, str | None] | SourceProblem | None:
        """The listed file, and the member of it, that the row names."""
        if isinstance(row, SourceProblem) or row.audio is None or not is_text(row.audio):
            return None
        try:
            name = self._root.resolve(row.audio)
            if name is not None:
                return name, None
            file, member = split_member(row.audio)
            if member is not None and (name := self._root.resolve(file)) is not None:
                return name, member.removeprefix("./")
        except OutsideRootError as error:
            return SourceProblem(row.utterance_id, row.source, "outside_root", f"{row.source}: {error}")
        detail = f"{row.source}: audio {row.audio!r:.200} is not among the files below {self._root.path}"
        return SourceProblem(row.utterance_id, row.source, "missing_audio", detail)

    def _uri(self, place: tuple[str, str | None]) -> str:
        name, member = place
        return self._root.uri(name) if member is None else member_name(self._root.uri(name), member)

    def _whole(self, name: str, group: str | None) -> str:
        """What stands in the index for all recordings of a tar, or of a column."""
        return member_name(self._root.uri(name), group) if group else self._root.uri(name)

    def _answer(self, row: Row, place: tuple[str, str | None]) -> Located | SourceProblem:
        uri = self._uri(place)
        found = self._get(uri)
        if found is None:
            whole = self._get(self._whole(place[0], _group(*place)))
            assert whole is not None, "each file that is named has been read"
            reason: Reason = whole.reason or "missing_audio"
            detail = f"there is no such member{f': the file {whole.detail}' if whole.detail else ''}"
            found = _Found(uri, place[0], None, None, None, reason, detail, whole.value, whole.allowed)
        if found.reason is not None:
            told = f"{row.source}: {uri} {found.detail}"
            return SourceProblem(row.utterance_id, row.source, found.reason, told, found.value, found.allowed)
        assert found.digest is not None
        return Located(uri, found.digest, found.offset, found.size)

    def _read_all(self, jobs: Sequence[tuple[str, str | None]]) -> None:
        """In a thread: keep what each of them holds, some at a time, since a tar may have millions of members."""
        found = (one for job in jobs for one in self._read(job))
        while some := list(islice(found, _ROWS)):
            self._keep(some)

    def _read(self, job: tuple[str, str | None]) -> Iterator[_Found]:
        """The file, or all members of the tar, or all values of the column, and last what stands for all of them."""
        name, group = job
        uri, whole_uri = self._root.uri(name), self._whole(name, group)
        try:
            with self._root.open(name) as stream:
                if group is None:
                    yield _Found(uri, name, _digest(stream, None), None, self._root.files[name].size)
                    return
                yield from (
                    _values(uri, name, group, stream) if is_columnar(name) else _members(uri, name, stream)
                )
        except OSError as error:
            yield _Found(whole_uri, name, reason="unreadable", detail=f"cannot be read: {error}")
        except AudioFaultError as error:
            yield _faulty(whole_uri, name, None, None, error.problem)
        else:
            yield _Found(whole_uri, name)

    def _get(self, uri: str) -> _Found | None:
        with self._lock:
            row = self._database.execute("SELECT * FROM source WHERE uri = ?", (uri,)).fetchone()
        return None if row is None else _Found(*row)

    def _keep(self, found: Iterable[_Found]) -> None:
        with self._lock:
            self._database.executemany(_INSERT, (one.row() for one in found))


def _faulty(uri: str, file: str, offset: int | None, size: int | None, problem: AudioProblem) -> _Found:
    return _Found(uri, file, None, offset, size, problem.reason, problem.detail, problem.value, problem.limit)


def _group(name: str, member: str | None) -> str | None:
    """What of the file is read at once: ``None``: the file as such; a column of it; empty: all its members."""
    if member is None or not is_columnar(name):
        return member and ""
    value = split_value(member)
    return "" if value is None else value[0]


def _values(uri: str, name: str, column: str, stream: IO[bytes]) -> Iterator[_Found]:
    for row, value in ColumnFile(stream).values(column):
        if value is not None:
            named = member_name(uri, value_name(column, row))
            yield _Found(named, name, hashlib.sha256(value).hexdigest(), row, len(value))


def _members(tar: str, name: str, stream: IO[bytes]) -> Iterator[_Found]:
    seen = NameSet()
    for member in tar_members(stream):
        if not is_text(member.name):
            continue  # no row can name it, and its reader says so
        uri = member_name(tar, member.name)
        problem = member.problem
        if member.name in seen:
            detail = "stands in the tar file twice; which of them is meant cannot be told"
            problem = AudioProblem("unsafe_member", detail)
        seen.add(member.name)
        if problem is not None:
            yield _faulty(uri, name, member.offset, member.size, problem)
        else:
            stream.seek(member.offset)
            yield _Found(uri, name, _digest(stream, member.size), member.offset, member.size)


def _digest(stream: IO[bytes], size: int | None) -> str:
    """SHA-256 of the next ``size`` bytes, or of all that are left, in blocks of 1 MiB."""
    state = hashlib.sha256()
    while block := stream.read(_BLOCK_BYTES if size is None else min(size, _BLOCK_BYTES)):
        state.update(block)
        size = None if size is None else size - len(block)
    return state.hexdigest()


def is_text(*values: str) -> bool:
    """Whether all of them can be written: bytes of a file's name that are no UTF-8 are lone surrogates here."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True
