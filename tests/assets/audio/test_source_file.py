"""Recordings are verified while they are read, and a large one is not held in memory."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile as sf

from assets.audio import source_file
from assets.audio.byte_view import FileView
from assets.audio.containers import shortfall, sniff
from assets.audio.problem import AudioFaultError
from assets.audio.segments import Segment
from assets.audio.source_file import Place, opened_container, opened_source
from assets.audio.work import Recording, SourceTask, do_source
from validation.digests import digest_bytes
from validation.lake_files import LakeError
from validation.scratch import ScratchError

DATA = np.random.default_rng(0).bytes(300_000)


def encoded(format: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 40_000)
    sf.write(buffer, noise, 16_000, format=format, subtype=subtype)
    return buffer.getvalue()


def read(place: Place, data: bytes) -> tuple[bytes, bytes]:
    """The bytes through the view and through the stream."""
    with (
        opened_container(place.uri) as container,
        opened_source(container, place, digest_bytes(data)) as file,
    ):
        view = file.data[:] if isinstance(file.data, bytes) else b"".join(
            file.data[start : start + 7_001] for start in range(0, len(file.data), 7_001)
        )  # fmt: skip
        with file.as_regular_file() as regular:
            assert os.fstat(regular.fileno()).st_size == len(data)
        file.stream.seek(0)
        return view, file.stream.read()


@pytest.mark.parametrize("most", [10_000, len(DATA), 1 << 25], ids=["on disk", "just", "in memory"])
@pytest.mark.parametrize("known_size", [True, False])
@pytest.mark.parametrize("where", ["file", "url", "member"])
def test_a_recording_is_the_same_wherever_it_lies_and_however_large_it_is(
    tmp_path, monkeypatch, most, known_size, where
):
    monkeypatch.setattr(source_file, "IN_MEMORY_BYTES", most)
    size = len(DATA) if known_size or where == "member" else None
    place = {
        "file": Place(str(tmp_path / "x.bin"), None, size),
        "url": Place("memory://x.bin", None, size),
        "member": Place(str(tmp_path / "x.tar"), 777, size),
    }[where]
    around = (bytes(777), bytes(5_000)) if where == "member" else (b"", b"")
    with fsspec.open(place.uri, "wb") as stream:
        stream.write(around[0] + DATA + around[1])
    assert read(place, DATA) == (DATA, DATA)


@pytest.mark.parametrize("most", [10_000, 1 << 25])
def test_another_content_than_was_read_is_refused(tmp_path, monkeypatch, most):
    monkeypatch.setattr(source_file, "IN_MEMORY_BYTES", most)
    (tmp_path / "x").write_bytes(DATA + b"more")
    with pytest.raises(AudioFaultError) as caught:
        read(Place(str(tmp_path / "x"), None, len(DATA)), DATA)
    assert caught.value.problem.reason == "source_changed"


def test_a_file_that_is_gone_and_one_that_cannot_be_read_are_told_apart(tmp_path):
    for uri, reason in ((tmp_path / "gone", "missing_audio"), (tmp_path, "unreadable")):
        with pytest.raises(AudioFaultError) as caught, opened_container(str(uri)):
            pass
        assert caught.value.problem.reason == reason


@pytest.mark.parametrize(
    "data",
    [encoded("WAV"), encoded("AIFF"), encoded("AU"), encoded("NIST"), encoded("OGG", "OPUS"), encoded("MP3")],
    ids=["wav", "aiff", "au", "sphere", "ogg", "mp3"],
)
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_file_on_disk_promises_what_its_bytes_do(tmp_path, data, share):
    cut = data[: int(share * len(data))]
    path = Path(tmp_path, "x")
    path.write_bytes(cut)
    with path.open("rb") as stream:
        view = FileView(stream)
        container = sniff(view)
        assert container is not None and container == sniff(cut)
        assert shortfall(view, container) == shortfall(cut, container)
        assert (shortfall(view, container) is None) is (share == 1.0)


def test_a_name_with_colons_in_a_store_is_no_other_url(tmp_path):
    (tmp_path / "x::memory").write_bytes(b"sound")
    with opened_container(f"file://{tmp_path}/x::memory") as stream:
        assert stream.read() == b"sound"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM])
def test_want_of_room_or_handles_is_no_fault_of_the_file(tmp_path, number):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    with (
        pytest.raises((ScratchError, OSError), match=os.strerror(number)) as raised,
        opened_container(str(path)),
    ):
        raise OSError(number, os.strerror(number))
    assert not isinstance(raised.value, AudioFaultError)


def test_what_the_lake_refuses_is_no_fault_of_the_recording(tmp_path, monkeypatch):
    source = tmp_path / "x.wav"
    source.write_bytes(encoded("WAV"))
    recording = Recording(str(source), None, None, digest_bytes(source.read_bytes()), None, (Segment(),))
    real = os.stat

    def refused(path, *more, **named):
        if str(path).startswith(str(tmp_path / "lake" / "audio_22k")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *more, **named)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(LakeError, match=r"audio_22k/c/.*Permission denied"):
        do_source(SourceTask(str(tmp_path / "lake"), "c", (recording,)))
