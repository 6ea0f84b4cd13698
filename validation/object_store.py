"""An S3 store: s3fs with timeouts, retries and errors of our own, and nothing remembered of what others may change.

Each request is tried by botocore's standard mode, which waits longer after each failure; s3fs' own retries around it
are off, because together they would multiply. Bodies are read, and resumed, by :mod:`validation.object_reader`.
"""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import s3fs
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ReadTimeoutError
from fsspec.asyn import sync_wrapper

from validation.errors import UserError
from validation.object_errors import FAILURES, explained, is_silence
from validation.object_reader import ObjectReader, SharedReader
from validation.object_writer import ObjectWriter
from validation.remote import (
    SLOWEST_BYTES_PER_S,
    ObjectError,
    RemoteSettings,
    StoreError,
    endpoint,
    endpoint_name,
)

# So many requests in a row without an answer, each with all its attempts: it is the store, not an object.
_SILENT_REQUESTS = 3
_BUFFER_BYTES = 1 << 16
_READING = frozenset({"get_object", "head_object", "list_objects_v2"})


@dataclass(frozen=True, slots=True)
class ObjectFact:
    """What a listing says of one object; ``name`` is relative to the listed prefix."""

    name: str
    size: int
    version: str


class _BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no annotations
    """An HTTP session whose attempts all end: aiohttp waits for ever for a server that takes no more bytes."""

    async def send(self, request: Any) -> Any:
        """The answer's head, and its body where that is no object's."""
        # It is not signed, and answered at leisure by a server that has stopped; without it a round trip is saved.
        request.headers.pop("Expect", None)
        sent = int(request.headers.get("Content-Length", 0))
        limit_s = self._timeout.sock_connect + self._timeout.sock_read + sent / SLOWEST_BYTES_PER_S
        try:
            return await asyncio.wait_for(super().send(request), limit_s)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error


class ObjectStore(s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no annotations
    """The store that the environment names. Threads may share it, processes may not.

    Raises:
        StoreError: from any method, where the store as a whole is not to be had.
        ObjectError: from any method, where one object is not.
    """

    protocol = ("s3", "s3a")
    cachable = False  # :mod:`validation.remote` keeps one per process and environment
    changes = 0  # that this process has made or tried, in all stores

    def __init__(self, settings: RemoteSettings) -> None:
        where = endpoint()
        addressing = settings.addressing
        if addressing == "auto" and where is not None:
            addressing = "path"
        super().__init__(
            endpoint_url=where,
            # What another process has written or removed would not be seen.
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": settings.connect_timeout_s,
                "read_timeout": settings.read_timeout_s,
                "retries": {"mode": "standard", "total_max_attempts": settings.attempts},
                "max_pool_connections": settings.connections,
                "http_session_cls": _BoundedSession,
                # Written objects carry their MD5, which every store checks; trailing checksums are not known to all.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": addressing},
            },
        )
        self.settings = settings
        self.retries = 1
        self._silent = 0

    async def _call_s3(self, method: str, *arguments: Any, **options: Any) -> Any:
        url = _url(options.get("Bucket", ""), options.get("Key") or options.get("Prefix") or "")
        try:
            answer = await super()._call_s3(method, *arguments, **options)
        except (*FAILURES, ValueError) as error:
            raise self.failure(error, url) from error
        finally:
            if method not in _READING:
                ObjectStore.changes += 1
        if method != "get_object":  # whose body is still to come
            self.answered()
        return answer

    call_s3 = sync_wrapper(_call_s3)

    def answered(self) -> None:
        """The store gave a whole answer."""
        self._silent = 0

    def failure(self, error: BaseException, url: str) -> UserError | FileNotFoundError:
        """What to raise for an error; also counts how often in a row there was no answer."""
        told = explained(error, url, self.settings.attempts)
        if isinstance(error, UserError):
            return told
        if not is_silence(error):
            self.answered()
            return told
        self._silent += 1
        if self._silent < _SILENT_REQUESTS:
            return told
        return StoreError(f"{told}; it is the request number {self._silent} in a row without one")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            return super()._open(path, mode, **options)
        return io.BufferedReader(ObjectReader(self, *self._place(path)), _BUFFER_BYTES)

    def writer(self, path: str) -> ObjectWriter:
        """A stream into the object at ``path``, which is there once it is committed."""
        return ObjectWriter(self, *self._place(path))

    def head(self, path: str) -> dict[str, Any] | None:
        """Size and ETag, among others, of the object at ``path`` by one request; ``None`` where there is none."""
        bucket, key = self._place(path)
        try:
            found: dict[str, Any] = self.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        return found

    def remove(self, path: str) -> None:
        """Remove the object of exactly this name, if it is there."""
        bucket, key = self._place(path)
        self.call_s3("delete_object", Bucket=bucket, Key=key)

    def objects(self, path: str, most: int | None = None) -> Iterator[ObjectFact]:
        """The objects below the prefix ``path``, in the order of their names; one page of them is held at a time."""
        for page in self._pages(path, {} if most is None else {"MaxKeys": most}):
            for one in page.get("Contents", []):
                version = str(one.get("ETag") or one.get("LastModified"))
                yield ObjectFact(one["Key"][len(page["Prefix"]) :], int(one["Size"]), version)
            if most is not None:
                return

    def names(self, path: str) -> Iterator[str]:
        """Names of the objects directly below the prefix ``path``, in their order."""
        for page in self._pages(path, {"Delimiter": "/"}):
            yield from (one["Key"][len(page["Prefix"]) :] for one in page.get("Contents", []))

    def _pages(self, path: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        bucket, key = self._place(path)
        prefix = f"{key.rstrip('/')}/" if key else ""
        asked = {"Bucket": bucket, "Prefix": prefix, **options}
        while True:
            try:
                page = self.call_s3("list_objects_v2", **asked)
            except ObjectError as error:  # no single object's fault
                raise StoreError(f"cannot be listed: {error}") from error
            yield {**page, "Prefix": prefix}
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def check(self, path: str) -> None:
        """Ask whether the prefix can be listed and written.

        Raises:
            StoreError: naming the URL, what was answered and what to do.
        """
        probe = f"{path}/.voxline-{uuid.uuid4().hex}"  # hidden: no listing of ours shows it
        try:
            next(self.objects(path, most=1), None)
            with self.writer(probe):
                pass
            self.remove(probe)
        except ObjectError as error:
            raise StoreError(str(error)) from error
        except FileNotFoundError as error:
            raise StoreError(f"{_url(path, '')}: {endpoint_name()} knows no such place") from error

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """End an upload and drop its parts, as far as the store answers."""
        # What ended the upload is the error to tell; what stays behind here, the next writer of the object removes.
        with suppress(UserError, FileNotFoundError):
            self.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)

    @staticmethod
    def _place(path: str) -> tuple[str, str]:
        bucket, _, key = path.partition("/")
        return bucket, key


class SharedStore(ObjectStore):
    """The same store for DuckDB, whose threads share open files.

    Each query of it begins with a glob of each file and asks four times more what the file is: the answer to the glob
    holds until the next one. A name is always that of one object, whatever a pattern would make of it.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        super().__init__(settings)
        self._heads: dict[str, dict[str, Any]] = {}
        self._blocks = 0
        self._fresh: set[str] = set()  # objects that were asked for in this block, since the last change
        self._fresh_since = 0

    @contextmanager
    def asked_once(self) -> Iterator[None]:
        """In the block, a second query of an object need not ask for it again, unless this process writes meanwhile.

        What another process writes is seen by the next block; to a query in this one, the object has changed while it
        is read, which is an error.
        """
        self._fresh.clear()
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            self._fresh.clear()

    def glob(self, path: str, **_: Any) -> list[str]:
        """The object of exactly this name, if it is there."""
        path = self._strip_protocol(path)
        changes = ObjectStore.changes
        if changes != self._fresh_since:
            self._fresh.clear()
            self._fresh_since = changes
        if self._blocks and path in self._fresh:
            return [path]
        found = self.head(path)
        if found is None:
            self._heads.pop(path, None)
            return []
        self._heads[path] = found
        self._fresh.add(path)
        return [path]

    def size(self, path: str) -> int:
        """Bytes of the object, as they were at the last glob."""
        return int(self._found(path)["ContentLength"])

    def modified(self, path: str, version_id: str | None = None, refresh: bool = False) -> datetime:
        """When the object was written that was there at the last glob."""
        written: datetime = self._found(path)["LastModified"]
        return written

    def _found(self, path: str) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if path not in self._heads and not self.glob(path):
            raise FileNotFoundError(f"{_url(path, '')} does not exist")
        return self._heads[path]

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            return super()._open(path, mode, **options)
        found, place = self._found(path), self._place(path)
        return SharedReader(lambda: io.BufferedReader(ObjectReader(self, *place, found), _BUFFER_BYTES))


def _url(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"
