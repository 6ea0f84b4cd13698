"""Reading an object: in ranges that grow while it is read forwards, each resumed where its body was cut short."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import threading
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any

from fsspec.asyn import sync

from validation.object_errors import SILENCES, code_of
from validation.remote import ObjectError, longest_pause_s

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from validation.object_store import ObjectStore

# The first request at an object's start: most recordings are whole with one. After a seek somebody wants a part only.
_FIRST_BYTES = 1 << 20
_SOUGHT_BYTES = 1 << 17
_GROWTH = 4
_MOST_BYTES = 8 << 20
# What a buffered stream around it asks for beyond the bytes that its own reader wants.
_SLACK_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18
# An attempt that brought so much was no failure: a slow link ends in the end, a store that drips does not.
_PROGRESS_BYTES = 1 << 18
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


class ObjectReader(io.RawIOBase):
    """One object, to read and seek in; nothing is asked of the store before the first of that.

    All that is read comes from one version of the object.

    Args:
        found: The answer to a ``HEAD`` of the version to read; without it, whichever is there at the first read.

    Raises:
        FileNotFoundError: on reading, if there is no such object.
        ObjectError: on reading, if it cannot be read, or has changed since the first bytes of it.
    """

    def __init__(
        self, store: ObjectStore, bucket: str, key: str, found: Mapping[str, Any] | None = None
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._url = f"s3://{bucket}/{key}"
        self._position = 0
        self._size: int | None = None
        self._etag: str | None = None
        if found is not None:
            self._take(found)
        self._start = 0
        self._held = b""
        self._ahead = 0

    def readable(self) -> bool:
        """Always, of an open one."""
        return True

    def seekable(self) -> bool:
        """Always, of an open one."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, without asking the store for anything but the size."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        position = (self._known_size() if whence == os.SEEK_END else start[whence]) + offset
        if position < 0:
            raise ValueError(f"{self._url}: position {position} is before its start")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer with what is there; 0 at the end."""
        target = memoryview(buffer).cast("B")
        if not len(target):
            return 0
        held = self._from_here(len(target))
        count = min(len(held), len(target))
        target[:count] = held[:count]
        self._position += count
        return count

    def readall(self) -> bytes:
        """All that is left."""
        parts = []
        while held := self._from_here(0 if self._size is None else self._size - self._position):
            parts.append(bytes(held))
            self._position += len(held)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _from_here(self, wanted: int) -> memoryview:
        """What is held from the position on, after a request if that is nothing."""
        offset = self._position - self._start
        if not 0 <= offset < len(self._held):
            is_forwards = offset == len(self._held) and self._ahead > 0
            first = _SOUGHT_BYTES if self._position else _FIRST_BYTES
            self._ahead = min(_GROWTH * self._ahead, _MOST_BYTES) if is_forwards else first
            length = max(wanted + _SLACK_BYTES, self._ahead)
            if self._size is not None:
                length = min(length, self._size - self._position)
            self._held, self._start, offset = b"", self._position, 0
            if length > 0:
                self._held = sync(self._store.loop, self._fetch, self._position, length)
        return memoryview(self._held)[offset:]

    def _known_size(self) -> int:
        if self._size is None:
            found = self._store.head(f"{self._bucket}/{self._key}")
            if found is None:
                raise FileNotFoundError(f"{self._url} does not exist")
            self._take(found)
        assert self._size is not None
        return self._size

    def _take(self, found: Mapping[str, Any]) -> None:
        self._size, self._etag = int(found["ContentLength"]), found.get("ETag")

    async def _fetch(self, start: int, length: int) -> bytes:
        """The bytes of the range, or as many of them as the object has."""
        found = bytearray()
        failures, counted = 0, 0
        while True:
            try:
                await self._append(found, start, length)
            except SILENCES as error:
                failures = 1 if len(found) - counted >= _PROGRESS_BYTES else failures + 1
                counted = len(found)
                if failures >= self._store.settings.attempts:
                    raise self._store.failure(error, self._url) from error
                await asyncio.sleep(random.uniform(0.0, longest_pause_s(failures)))
            else:
                self._store.answered()
                return bytes(found)

    async def _append(self, found: bytearray, start: int, length: int) -> None:
        first, end = start + len(found), start + length
        if self._size is not None:
            end = min(end, self._size)
        if first >= end:
            return
        only = {} if self._etag is None else {"IfMatch": self._etag}
        try:
            answer = await self._store._call_s3(
                "get_object", Bucket=self._bucket, Key=self._key, Range=f"bytes={first}-{end - 1}", **only
            )
        except ObjectError as error:
            code, status, _ = code_of(error.__cause__ or error)
            if code == "InvalidRange" or status == 416:  # it begins where the object ends
                self._size = first
                return
            if code == "PreconditionFailed" or status == 412:
                raise ObjectError(f"{self._url} was changed while it was read") from error
            raise
        body = answer["Body"]
        try:
            etag = answer.get("ETag")
            if self._etag not in (None, etag):  # not every store knows If-Match
                raise ObjectError(f"{self._url} was changed while it was read")
            total = _TOTAL.fullmatch(answer.get("ContentRange", ""))
            self._size = int(total[1]) if total is not None else int(answer["ContentLength"])
            self._etag = etag
            whole = min(end, self._size) - start
            if total is None and first:
                raise ObjectError(f"{self._url}: the store does not know ranges of bytes")
            while len(found) < whole:
                piece = await body.read(min(_PIECE_BYTES, whole - len(found)))
                if not piece:
                    raise _cut_short(len(found), whole)
                found += piece
        finally:
            body.close()


class SharedReader:
    """One object for a library whose threads seek and read in one open file, as DuckDB's do.

    What a thread reads after it has sought comes from where it sought, whatever another thread has done in between.
    """

    def __init__(self, opened: Callable[[], IO[bytes]]) -> None:
        self._opened = opened
        self._own = threading.local()
        self._streams: list[IO[bytes]] = []
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Where this thread's next read begins."""
        stream = self._stream()
        if whence == os.SEEK_CUR:
            stream.seek(self._position)
        self._own.sought = self._position = stream.seek(offset, whence)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Bytes from where this thread sought, else from where the last read ended."""
        position = getattr(self._own, "sought", None)
        self._own.sought = None
        stream = self._stream()
        stream.seek(self._position if position is None else position)
        data = stream.read(size)
        self._position = stream.tell()
        return data

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def close(self) -> None:
        """Close what all threads have opened."""
        while self._streams:
            self._streams.pop().close()

    def _stream(self) -> IO[bytes]:
        if not hasattr(self._own, "stream"):
            self._own.stream = self._opened()
            self._streams.append(self._own.stream)
        stream: IO[bytes] = self._own.stream
        return stream


def _cut_short(found: int, wanted: int) -> TimeoutError:
    return TimeoutError(f"{found} of {wanted} bytes came")
