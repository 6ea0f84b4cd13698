"""Writing an object: there whole or not at all, in parts if it is large, and compared with what the store has of it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from validation.object_errors import code_of
from validation.remote import ObjectError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from validation.object_store import ObjectStore

_MOST_PARTS = 10_000  # of S3
_PARTS_AT_ONCE = 4
# Damaged on its way: the store has refused it, and the same bytes may arrive whole the next time.
_DAMAGED = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "IncompleteBody"})
# An upload that nobody has ended for so long belongs to a process that was killed.
_ABANDONED_AFTER = timedelta(days=1)
_KEYED_BY_OTHERS = ("aws:kms", "aws:kms:dsse")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that the store has: its MD5, and what the store calls it."""

    digest: bytes
    etag: str


class ObjectWriter(io.RawIOBase):
    """A stream into one object. It is there once :meth:`commit` has returned; closing without that writes nothing.

    Used as a context manager, it commits at the end of the block and aborts at an error.

    Raises:
        StoreError: if it cannot be written, or the store keeps something else than was sent; with both digests.
    """

    def __init__(self, store: ObjectStore, bucket: str, key: str) -> None:
        self._store = store
        self._place = {"Bucket": bucket, "Key": key}
        self._url = f"s3://{bucket}/{key}"
        self._part_bytes = store.settings.part_mib << 20
        self._buffer = bytearray()
        self._written = 0
        self._upload: str | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._sending: deque[Future[_Part]] = deque()
        self._parts: list[_Part] = []

    def writable(self) -> bool:
        """Always, of an open one."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def write(self, data: ReadableBuffer) -> int:
        """Take the bytes; whole parts go to the store meanwhile."""
        view = memoryview(data).cast("B")
        self._buffer += view
        self._written += len(view)
        while len(self._buffer) >= self._part_bytes:
            self._send_part(self._part_bytes)
        return len(view)

    def commit(self) -> None:
        """Make the object visible, and find it to be what was written."""
        if self._upload is None:
            self._put(bytes(self._buffer))
        else:
            if self._buffer:
                self._send_part(len(self._buffer))
            while self._sending:
                self._parts.append(self._sending.popleft().result())
            self._complete()
        self._end()

    def abort(self) -> None:
        """Leave nothing behind."""
        for one in self._sending:
            one.cancel()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)  # a part that arrives later would outlive the upload
        if self._upload is not None:
            self._store.abort(self._place["Bucket"], self._place["Key"], self._upload)
        self._end()

    def _end(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()
        self._upload, self._threads = None, None
        self._sending.clear()
        self._buffer = bytearray()
        self.close()

    def __enter__(self) -> ObjectWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
            return
        try:
            self.commit()
        except BaseException:
            self.abort()
            raise

    # --- one request ------------------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        digest = _md5(data)
        answer = self._request("put_object", data, digest)
        if not _agrees(answer, digest.hex()):
            self._refuse(digest.hex(), str(answer.get("ETag")), None)

    # --- parts ------------------------------------------------------------------------------------------------

    def _send_part(self, size: int) -> None:
        if self._upload is None:
            self._begin()
        assert self._threads is not None
        number = len(self._parts) + len(self._sending) + 1
        if number > _MOST_PARTS:
            raise StoreError(
                f"{self._url}: has more than {_MOST_PARTS} parts of {self._part_bytes >> 20} MiB; "
                "set VOXLINE_S3_PART_MIB higher"
            )
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        if len(self._sending) >= _PARTS_AT_ONCE:
            self._parts.append(self._sending.popleft().result())
        self._sending.append(self._threads.submit(self._put_part, number, data))

    def _begin(self) -> None:
        self._remove_abandoned()
        self._upload = str(self._told(lambda: self._call("create_multipart_upload"))["UploadId"])
        self._threads = ThreadPoolExecutor(_PARTS_AT_ONCE)

    def _put_part(self, number: int, data: bytes) -> _Part:
        digest = _md5(data)
        answer = self._request("upload_part", data, digest, PartNumber=number, UploadId=self._upload)
        if not _agrees(answer, digest.hex()):
            raise StoreError(
                f"{self._url}: part {number} was sent with MD5 {digest.hex()} and the store keeps {answer.get('ETag')}"
            )
        return _Part(digest, str(answer.get("ETag")))

    def _complete(self) -> None:
        parts = [
            {"PartNumber": number, "ETag": part.etag} for number, part in enumerate(self._parts, start=1)
        ]
        expected = f"{_md5(b''.join(part.digest for part in self._parts)).hex()}-{len(parts)}"
        try:
            self._told(
                lambda: self._call(
                    "complete_multipart_upload", UploadId=self._upload, MultipartUpload={"Parts": parts}
                )
            )
        except FileNotFoundError as error:
            # The answer to an earlier attempt was lost, or somebody ended the upload: the object itself says which.
            found = self._told(lambda: self._store.head(self._path))
            if found is None or not _agrees(found, expected):
                raise self._ended() from error
        self._upload = None
        found = self._told(lambda: self._store.head(self._path)) or {}
        size = found.get("ContentLength")
        if size != self._written or not _agrees(found, expected):
            self._refuse(expected, str(found.get("ETag")), size)

    def _remove_abandoned(self) -> None:
        bucket, key = self._place["Bucket"], self._place["Key"]
        answer: dict[str, Any] = {}
        with suppress(ObjectError):  # not everyone may list uploads, and nobody needs it to write
            answer = self._store.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
        latest = datetime.now(UTC) - _ABANDONED_AFTER
        for upload in answer.get("Uploads", []):
            if upload["Key"] == key and upload["Initiated"] < latest:
                self._store.abort(bucket, key, upload["UploadId"])

    # --- both -------------------------------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return f"{self._place['Bucket']}/{self._place['Key']}"

    def _call(self, method: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._store.call_s3(method, **self._place, **options)
        return answer

    def _request(self, method: str, data: bytes, digest: bytes, **options: Any) -> dict[str, Any]:
        checked = {"Body": data, "ContentMD5": base64.b64encode(digest).decode(), **options}
        for attempt in range(self._store.settings.attempts):
            try:
                return self._call(method, **checked)
            except FileNotFoundError as error:
                raise self._ended() from error
            except ObjectError as error:
                is_last = attempt + 1 == self._store.settings.attempts
                if is_last or code_of(error.__cause__ or error)[0] not in _DAMAGED:
                    raise StoreError(f"cannot be written: {error}") from error
        raise AssertionError("attempts are at least one")

    def _told(self, call: Callable[[], Any]) -> Any:
        # A write that fails is never the fault of one recording, whose reader would take an OSError for that.
        try:
            return call()
        except ObjectError as error:
            raise StoreError(f"cannot be written: {error}") from error

    def _ended(self) -> StoreError:
        return StoreError(f"{self._url}: its upload was ended by somebody else")

    def _refuse(self, sent: str, kept: str, size: int | None) -> None:
        self._told(lambda: self._store.remove(self._path))
        sizes = "" if size is None else f", {size} bytes"
        raise StoreError(
            f"{self._url}: {self._written} bytes with MD5 {sent} were sent, and the store keeps {kept}{sizes}; it was "
            "removed"
        )


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _agrees(answer: dict[str, Any], digest: str) -> bool:
    """Whether the ETag is the digest; it says nothing where the store encrypts with a key of its own or the user's."""
    if answer.get("ServerSideEncryption") in _KEYED_BY_OTHERS or "SSECustomerAlgorithm" in answer:
        return True  # the store has compared what arrived with the digest that was sent along
    return str(answer.get("ETag", "")).strip('"') == digest
