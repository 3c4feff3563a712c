"""A cache of answers, bounded in bytes."""

from __future__ import annotations

import pytest

from bemi_django.ingest.rows.catalog.sized_cache import SizedCache


def test_an_answer_is_asked_for_once_until_others_take_its_place() -> None:
    asked: list[tuple[int, bytes]] = []

    def ask(key: int, value: bytes) -> bytes:
        asked.append((key, value))
        return value * 2

    cache = SizedCache(ask, max_bytes=300)
    for _ in range(3):
        assert cache(1, b"a") == b"aa"
    assert cache(2, b"a") == b"aa"
    assert asked == [(1, b"a"), (2, b"a")]
    for number in range(100):
        cache(1, b"%05d" % number)
        cache(1, b"a")
        assert cache.size <= 300
    assert asked.count((1, b"a")) == 1
    cache(2, b"a")
    assert asked.count((2, b"a")) == 2


def test_a_large_value_drives_out_no_other() -> None:
    asked = []

    def ask(key: int, value: bytes) -> bytes:
        asked.append(len(value))
        return b""

    cache = SizedCache(ask, max_bytes=1_600)
    cache(1, b"small")
    for _ in range(2):
        cache(1, b"x" * 1_000)
    cache(1, b"small")
    assert asked == [5, 1_000, 1_000]
    assert cache.size == 5


def test_a_failure_is_not_remembered() -> None:
    failures = iter([ValueError(), None])

    def ask(key: int, value: bytes) -> bytes:
        if failure := next(failures):
            raise failure
        return b"x"

    cache = SizedCache(ask)
    with pytest.raises(ValueError):
        cache(1, b"a")
    assert cache(1, b"a") == b"x"
