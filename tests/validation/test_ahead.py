"""Items made ahead are the same, in their order, one at a time; what goes wrong is told where it would have been."""

from __future__ import annotations

import threading

import pytest

from validation.ahead import ahead


def test_all_items_come_in_their_order_from_one_other_thread():
    threads = set()

    def made():
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert list(ahead(made())) == [*range(50)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_no_more_than_the_next_item_is_made():
    begun = []

    def made():
        for number in range(9):
            begun.append(number)
            yield number

    for number in ahead(made()):
        assert len(begun) <= number + 2


def test_an_error_comes_after_the_items_before_it():
    def made():
        yield 1
        yield 2
        raise ValueError("the third")

    items = ahead(made())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(items)


def test_its_thread_ends_when_nobody_asks_any_more():
    before = set(threading.enumerate())
    items = ahead(iter(range(9)))
    next(items)
    items.close()
    assert set(threading.enumerate()) <= before  # one of another test's may have ended meanwhile
