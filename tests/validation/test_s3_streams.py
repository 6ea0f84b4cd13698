"""Objects are read and written whole, whatever the connection does."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from validation.lake_files import LakeFiles
from validation.remote import ObjectError, RemoteSettings, StoreError, open_url

pytestmark = [pytest.mark.s3, pytest.mark.slow]

_MIB = 1 << 20


@pytest.fixture
def lake(s3) -> LakeFiles:
    return LakeFiles(f"{s3.url}/lake")


@pytest.fixture
def hasty(monkeypatch) -> RemoteSettings:
    """Settings under which a server that does not answer is given up within seconds."""
    monkeypatch.setenv("VOXLINE_S3_READ_TIMEOUT_S", "1")
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "3")
    return RemoteSettings.from_environment()


@pytest.fixture
def persistent(hasty, monkeypatch) -> None:
    """As hasty of each attempt, with so many that a server that is only slow, on a busy machine, answers one."""
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "20")


@pytest.fixture
def small_parts(monkeypatch) -> None:
    """The smallest parts that S3 takes."""
    monkeypatch.setenv("VOXLINE_S3_PART_MIB", "5")


def noise(size: int) -> bytes:
    return os.urandom(size)


def test_files_come_back(s3, lake):
    lake.check()
    assert lake.read_json("a.json") is None and not lake.exists("a.json")
    lake.write_json("x/a.json", [1, 2])
    assert lake.read_json("x/a.json") == [1, 2]
    assert s3.keys() == ["lake/x/a.json"]
    assert lake.list_files("x") == ["x/a.json"] and lake.sizes("x") == {"x/a.json": 10}
    lake.write_bytes("x/empty", b"")
    assert lake.read_bytes("x/empty") == b"" and lake.size("x/empty") == 0
    lake.remove("x/a.json")
    lake.remove("x/a.json")
    assert s3.keys() == ["lake/x/empty"]


def test_an_object_is_read_in_any_order_and_by_few_requests(s3, proxy):
    data = noise(3 * _MIB + 17)
    s3.put("big", data)
    with open_url(f"{s3.url}/big") as stream:
        assert stream.seek(-5, 2) == len(data) - 5 and stream.read() == data[-5:]
        assert stream.seek(100) == 100 and stream.read(50) == data[100:150]
        assert stream.read() == data[150:]
        assert stream.read(1) == b""
        assert stream.seek(0) == 0 and stream.readline() == data[: data.index(b"\n") + 1]
    proxy.forget()
    with open_url(f"{s3.url}/big") as stream:
        assert stream.read(len(data) + 1) == data
    assert proxy.counts() == {"GetObject": 1}
    proxy.forget()
    with open_url(f"{s3.url}/big") as stream:
        state = hashlib.sha256()
        while block := stream.read(_MIB):
            state.update(block)
    assert state.digest() == hashlib.sha256(data).digest() and proxy.counts()["GetObject"] <= 3


def test_a_body_that_is_cut_short_is_resumed_where_it_ended(s3, proxy):
    data = noise(3 * _MIB)
    s3.put("big", data)
    for cut in (0, 1, 300_000):
        proxy.fail("cut", "GetObject", after=cut)
    with open_url(f"{s3.url}/big") as stream:
        assert stream.read() == data
    ranges = [request.range for request in proxy.requests]
    assert any(one and one.startswith(("bytes=300000-", "bytes=300001-")) for one in ranges), ranges


def test_a_body_that_stalls_is_resumed(s3, proxy, persistent):
    data = noise(_MIB)
    s3.put("big", data)
    proxy.fail("stall", "GetObject", after=500_000)
    with open_url(f"{s3.url}/big") as stream:
        assert stream.read() == data


def test_a_body_that_always_stalls_is_an_error_within_the_stated_time(s3, proxy, hasty):
    s3.put("big", noise(_MIB))
    proxy.fail("stall", "GetObject", after=10, times=1000)
    began = time.monotonic()
    with (
        open_url(f"{s3.url}/big") as stream,
        pytest.raises(
            ObjectError, match=rf"{s3.url}/big: {proxy.endpoint} gave no whole answer .* 3 attempts"
        ),
    ):
        stream.read()
    assert time.monotonic() - began <= hasty.longest_s()
    assert isinstance(ObjectError("x"), OSError), "readers of corpora take it for an unreadable file"


def test_an_object_that_changes_while_it_is_read_is_no_mixture(s3, lake):
    s3.put("big", noise(4 * _MIB))
    with open_url(f"{s3.url}/big") as stream:
        stream.read(10)
        s3.put("big", noise(4 * _MIB))
        with pytest.raises(ObjectError, match="was changed while it was read"):
            stream.read()


def test_a_busy_server_is_asked_again(s3, proxy, persistent):
    s3.put("x", b"12")
    proxy.fail("status", "GetObject", status=503, times=2)
    proxy.fail("status", "PutObject", status=500, times=2)
    lake = LakeFiles(s3.url)
    assert lake.read_bytes("x") == b"12"
    lake.write_bytes("y", b"34")
    assert s3.get("y") == b"34"


def test_the_server_is_paused_for_a_while(s3, lake, persistent):
    lake.write_bytes("x", b"before")
    s3.server.pause()
    timer = threading.Timer(1.5, s3.server.go_on)
    timer.start()
    try:
        assert lake.read_bytes("x") == b"before"
    finally:
        s3.server.go_on()
        timer.cancel()
    lake.write_bytes("x", b"after")
    assert s3.get("lake/x") == b"after"


def test_a_server_that_stays_away_is_a_store_error_in_the_end(s3, lake, hasty, monkeypatch):
    s3.put("lake/x", b"1")
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "2")
    monkeypatch.setenv("VOXLINE_S3_CONNECT_TIMEOUT_S", "1")
    hasty = RemoteSettings.from_environment()
    s3.server.pause()
    try:
        began = time.monotonic()
        for expected in (ObjectError, ObjectError, StoreError):
            with pytest.raises(expected, match="gave no whole answer"):
                lake.read_bytes("x")
        with pytest.raises(StoreError):
            # Another one: what a paused server has been sent it may still do when it goes on.
            lake.write_bytes("y", noise(4 * _MIB))
        assert time.monotonic() - began <= 3 * hasty.longest_s() + hasty.longest_s(4 * _MIB)
    finally:
        s3.server.go_on()
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "20")
    assert lake.read_bytes("x") == b"1"


# --- writing --------------------------------------------------------------------------------------------------------


def test_a_large_object_goes_in_parts_and_appears_whole(s3, proxy, small_parts, lake):
    data = noise(12 * _MIB)
    with lake.atomic_write("big") as stream:
        for start in range(0, len(data), 777_777):
            stream.write(data[start : start + 777_777])
            assert s3.keys() == []
        assert stream.tell() == len(data)
    assert s3.get("lake/big") == data and s3.uploads() == []
    counts = proxy.counts()
    assert (counts["CreateUpload"], counts["UploadPart"], counts["CompleteUpload"]) == (1, 3, 1)


def test_an_interrupted_upload_leaves_nothing(s3, lake, small_parts):
    lake.write_bytes("big", b"old")
    with pytest.raises(KeyboardInterrupt), lake.atomic_write("big") as stream:
        stream.write(noise(11 * _MIB))
        raise KeyboardInterrupt
    assert s3.get("lake/big") == b"old" and s3.uploads() == []
    with pytest.raises(RuntimeError), lake.atomic_write("small") as stream:
        stream.write(b"half")
        raise RuntimeError
    assert s3.keys() == ["lake/big"]


def test_an_upload_whose_parts_are_refused_is_ended(s3, proxy, lake, small_parts):
    proxy.fail("status", "UploadPart", status=503, times=1000)
    with pytest.raises(StoreError, match=r"lake/big: .*503"), lake.atomic_write("big") as stream:
        stream.write(noise(11 * _MIB))
    assert s3.keys() == [] and s3.uploads() == []


def test_what_is_damaged_on_its_way_is_sent_again(s3, proxy, lake, small_parts):
    s3.needs_ceph("compares what it gets with its MD5")
    proxy.fail("damage", "PutObject")
    lake.write_bytes("x", b"some bytes")
    assert s3.get("lake/x") == b"some bytes" and proxy.counts()["PutObject"] == 2
    proxy.fail("damage", "UploadPart")
    data = noise(6 * _MIB)
    lake.write_bytes("y", data)
    assert s3.get("lake/y") == data


def test_a_store_that_keeps_something_else_is_told_by_both_digests(s3, proxy, lake, small_parts):
    proxy.fail("lie", "PutObject")
    with pytest.raises(
        StoreError, match=rf"10 bytes with MD5 {hashlib.md5(b'some bytes').hexdigest()}.*0{{32}}"
    ):
        lake.write_bytes("x", b"some bytes")
    proxy.fail("lie", "UploadPart")
    with pytest.raises(StoreError, match=r"part \d was sent with MD5 .* keeps \"0{32}"):
        lake.write_bytes("y", noise(6 * _MIB))
    proxy.fail("lie", "HeadObject")
    with pytest.raises(
        StoreError, match=r"6291456 bytes with MD5 .*-2 were sent.*6291456 bytes; it was removed"
    ):
        lake.write_bytes("z", noise(6 * _MIB))
    assert s3.keys() == [] and s3.uploads() == []


def test_an_answer_that_is_lost_is_no_failure(s3, proxy, lake, small_parts):
    for operation in ("PutObject", "CompleteUpload", "UploadPart", "CreateUpload"):
        proxy.fail("lose", operation)
    data = noise(6 * _MIB)
    lake.write_bytes("x", b"1")
    lake.write_bytes("big", data)
    assert s3.get("lake/x") == b"1" and s3.get("lake/big") == data


def test_threads_write_at_once(s3, lake, small_parts):
    def write(number: int) -> None:
        lake.write_bytes(f"n/{number}", str(number).encode() * 1000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(64)))
    assert len(s3.keys("lake/n/")) == 64
    assert all(s3.get(f"lake/n/{n}") == str(n).encode() * 1000 for n in (0, 17, 63))


def test_a_forked_process_connects_anew(s3, lake):
    lake.write_bytes("x", b"1")
    child = os.fork()
    if child == 0:
        try:
            lake.write_bytes("child", lake.read_bytes("x"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert s3.get("lake/child") == b"1"
