"""The reader of objects, against a store in memory: any order of seeks and reads gives the object's bytes."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import pytest
from fsspec.asyn import get_loop

from validation.object_reader import ObjectReader, SharedReader
from validation.remote import ObjectError, RemoteSettings

_DATA = random.Random(0).randbytes(6_000_000)


class _Body:
    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    async def read(self, size: int) -> bytes:
        return self._stream.read(min(size, 70_000))

    def close(self) -> None:
        self._stream.close()


@dataclass
class _Store:
    """What a reader asks of a store, from memory."""

    settings: RemoteSettings = field(default_factory=RemoteSettings)
    etags: Iterator[str] = field(default_factory=lambda: repeat("e"))
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def loop(self) -> Any:
        return get_loop()

    def head(self, _path: str) -> dict[str, Any]:
        return {"ContentLength": len(_DATA), "ETag": "e"}

    def answered(self) -> None:
        """Nothing is counted here."""

    async def _call_s3(self, method: str, *, Range: str, **_: Any) -> dict[str, Any]:
        assert method == "get_object"
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", Range)
        assert found is not None
        first, last = int(found[1]), int(found[2])
        self.ranges.append((first, last))
        data = _DATA[first : last + 1]
        return {
            "Body": _Body(data),
            "ContentRange": f"bytes {first}-{last}/{len(_DATA)}",
            "ETag": next(self.etags),
        }


def opened(store: _Store) -> io.BufferedReader:
    return io.BufferedReader(ObjectReader(store, "b", "k"), 1 << 16)


def test_any_order_of_seeks_and_reads_gives_the_same_bytes() -> None:
    draw = random.Random(1)
    for _ in range(40):
        stream, same = opened(_Store()), io.BytesIO(_DATA)
        for _ in range(12):
            if draw.random() < 0.5:
                place = draw.randrange(len(_DATA) + 10)
                assert stream.seek(place) == same.seek(place)
            size = draw.choice([0, 1, 100, 65_536, 65_537, 1_000_000, 3_000_000])
            assert stream.read(size) == same.read(size)
        assert stream.read() == same.read()


def test_forwards_few_requests_are_made_and_after_a_seek_little_is_read() -> None:
    store = _Store()
    stream = opened(store)
    while stream.read(1 << 20):
        pass
    assert len(store.ranges) <= 3
    store = _Store()
    stream = opened(store)
    stream.seek(-8, 2)
    stream.read(8)
    stream.seek(2_000_000)
    stream.read(1000)
    assert sum(last - first + 1 for first, last in store.ranges) < 300_000


def test_two_versions_are_no_mixture_where_the_store_does_not_know_conditions() -> None:
    stream = ObjectReader(_Store(etags=iter("ab")), "b", "k")
    with pytest.raises(ObjectError, match="was changed while it was read"):
        stream.readall()


def test_threads_read_where_they_sought() -> None:
    store = _Store()
    shared = SharedReader(lambda: opened(store))

    def read(seed: int) -> bool:
        draw = random.Random(seed)
        for _ in range(20):
            place = draw.randrange(len(_DATA) - 1000)
            shared.seek(place)
            if shared.read(1000) != _DATA[place : place + 1000]:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(8)))
    shared.seek(10)
    assert shared.read(5) + shared.read(5) == _DATA[10:20] and shared.tell() == 20
    shared.close()
