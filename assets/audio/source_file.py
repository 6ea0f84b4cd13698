"""A corpus' recording, opened and found to be the one that was read: whole in memory if small, else on disk."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from assets.audio.byte_view import ByteView, FileView
from assets.audio.problem import AudioFaultError, AudioProblem
from validation.remote import open_url
from validation.scratch import scratch_room

if TYPE_CHECKING:
    from assets.audio.columns import ColumnFile

# Up to this size a recording is held in memory; above it, what a worker holds no longer depends on the recording.
IN_MEMORY_BYTES = 32 << 20
_BLOCK_BYTES = 1 << 20
_OF_THE_MACHINE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a recording lie.

    Attributes:
        uri: Path or URL of the file.
        offset: First byte, for a member of a tar, and the row of a column; ``None``: the file is the recording.
        size: Bytes of the member; of a file, ``None`` or what it had when its corpus was read.
        column: Of a Parquet or Arrow file, the one that holds the recording.
    """

    uri: str
    offset: int | None = None
    size: int | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An open recording: its bytes to slice, and a seekable stream over the same."""

    data: ByteView
    stream: IO[bytes]

    @classmethod
    def of_bytes(cls, data: bytes) -> SourceFile:
        """A recording held in memory."""
        return cls(data, io.BytesIO(data))

    @contextmanager
    def as_regular_file(self) -> Iterator[IO[bytes]]:
        """The recording as a file of the system, at its start, for another process to read and seek in."""
        if isinstance(self.data, FileView):
            self.stream.seek(0)
            yield self.stream
            return
        with os.fdopen(os.memfd_create("recording"), "w+b") as copy:
            copy.write(self.data)
            copy.seek(0)
            yield copy


@contextmanager
def opened_container(uri: str) -> Iterator[IO[bytes]]:
    """A file or a tar, open for reading and seeking.

    Raises:
        AudioFaultError: with ``missing_audio`` or ``unreadable``; also for an error within the block.
        ScratchError, OSError: if this machine has no room, memory or handles left, which is no fault of the file.
    """
    try:
        with scratch_room(), Path(uri).open("rb") if "://" not in uri else open_url(uri) as stream:
            yield stream
    except FileNotFoundError as error:
        raise AudioFaultError(AudioProblem("missing_audio", "is gone since the corpus was read")) from error
    except OSError as error:
        if error.errno in _OF_THE_MACHINE:
            raise
        raise AudioFaultError(AudioProblem("unreadable", f"cannot be read: {error}")) from error


@contextmanager
def opened_source(container: IO[bytes] | ColumnFile, place: Place, digest: str) -> Iterator[SourceFile]:
    """The recording at ``place`` of an open file or tar, its digest checked before anything of it is decoded.

    A recording above :data:`IN_MEMORY_BYTES` is read where it lies, if that is a file of this machine; from an object
    store or a tar it is copied to a temporary file, in the one reading that digests it.

    Args:
        digest: SHA-256 that the recording had when its corpus was read.

    Raises:
        AudioFaultError: ``source_changed``, where it is another one now.
        OSError: if it cannot be read.
    """
    if place.column is not None:
        assert place.offset is not None
        value = cast("ColumnFile", container).value(place.column, place.offset) or b""
        _refuse_changed(hashlib.sha256(value).hexdigest(), digest)
        yield SourceFile.of_bytes(value)
        return
    container = cast("IO[bytes]", container)
    container.seek(place.offset or 0)
    # A file is read to its end, whatever size it had; a member ends where the next one begins.
    left = None if place.offset is None else place.size
    # A byte more than is wanted says that there is more, and a buffer no larger than needed is cheap.
    expected = IN_MEMORY_BYTES if place.size is None else min(place.size, IN_MEMORY_BYTES)
    head = _read(container, expected + 1, left)
    if expected < len(head) <= IN_MEMORY_BYTES:
        head += _read(container, IN_MEMORY_BYTES + 1 - len(head), left)
    state = hashlib.sha256(head)
    if len(head) <= IN_MEMORY_BYTES:
        _refuse_changed(state.hexdigest(), digest)
        yield SourceFile.of_bytes(head)
        return
    with ExitStack() as stack:
        in_place = place.offset is None and "://" not in place.uri
        whole = container if in_place else stack.enter_context(tempfile.TemporaryFile())
        if not in_place:
            whole.write(head)
        left = None if left is None else left - len(head)
        del head
        while block := _read(container, _BLOCK_BYTES, left):
            state.update(block)
            left = None if left is None else left - len(block)
            if not in_place:
                whole.write(block)
        _refuse_changed(state.hexdigest(), digest)
        whole.flush()
        yield SourceFile(FileView(whole), whole)


def _read(stream: IO[bytes], most: int, left: int | None) -> bytes:
    return stream.read(most if left is None else min(most, left))


def _refuse_changed(found: str, digest: str) -> None:
    if found != digest:
        detail = "changed since the corpus was read: its SHA-256 is another one"
        raise AudioFaultError(AudioProblem("source_changed", detail))
