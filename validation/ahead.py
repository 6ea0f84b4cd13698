"""The next batch is made while the last one is written: making and writing are each one core's work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")


def ahead(items: Iterable[ItemT]) -> Iterator[ItemT]:
    """The same items, each made in a thread while the one before it is used; errors are raised in their place.

    Whatever makes them is called from that one thread only; it is ended before the iterator is.
    """
    made = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(_next, made)
        while item := waiting.result():
            waiting = thread.submit(_next, made)
            yield item.pop()


def _next(made: Iterator[ItemT]) -> list[ItemT]:
    """One item, or none at the end: to whoever takes it out, it alone belongs."""
    return list(islice(made, 1))
