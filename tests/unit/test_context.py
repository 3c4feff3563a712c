from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bemi_django import bound_context, get_context, set_context
from bemi_django.context import current, provided_context


def test_bound_context_merges_nests_and_restores() -> None:
    with bound_context(a=1, b=1):
        with bound_context(b=2, c=3):
            assert get_context() == {"a": 1, "b": 2, "c": 3}
        assert get_context() == {"a": 1, "b": 1}
    assert get_context() == {}


def test_bound_context_restores_after_an_exception() -> None:
    with pytest.raises(RuntimeError), bound_context(a=1):
        raise RuntimeError
    assert get_context() == {}


def test_set_context_replaces_until_the_block_ends() -> None:
    with bound_context(a=1):
        set_context({"b": 2})
        assert get_context() == {"b": 2}
    assert get_context() == {}


def test_a_copy_is_returned() -> None:
    with bound_context(a=1):
        get_context()["a"] = 2
        assert get_context() == {"a": 1}


def test_the_hooks_see_the_context_itself() -> None:
    with bound_context(a=1):
        assert current() == {"a": 1}
        assert current() is current()


def test_a_provider_is_asked_once_and_late() -> None:
    calls: list[str] = []

    def provider() -> dict[str, object]:
        calls.append("asked")
        return {"user": user}

    user = "nobody"
    with provided_context(provider):
        assert calls == []
        user = "ann"
        with bound_context(step=1):
            assert current() == {"user": "ann", "step": 1}
        user = "bob"
        assert current() == get_context() == {"user": "ann"}
    assert calls == ["asked"]


def test_to_look_at_the_context_does_not_settle_it() -> None:
    user = "nobody"
    with provided_context(lambda: {"user": user}), bound_context(step=1):
        assert get_context() == {"user": "nobody", "step": 1}
        user = "ann"
        assert current() == get_context() == {"user": "ann", "step": 1}


def test_a_provider_that_writes_itself_is_not_asked_again() -> None:
    inner: list[object] = []

    def provider() -> dict[str, object]:
        inner.append(dict(current()))
        return {"user": "ann"}

    with bound_context(step=1), provided_context(provider):
        assert current() == {"step": 1, "user": "ann"}
    assert inner == [{"step": 1}]


def test_a_failing_provider_costs_the_context_not_the_write(caplog: pytest.LogCaptureFixture) -> None:
    def provider() -> dict[str, object]:
        raise ValueError("no")

    with provided_context(provider), bound_context(step=1):
        assert get_context() == {"step": 1}
    assert "context function failed" in caplog.text


def test_threads_do_not_see_each_other() -> None:
    barrier = threading.Barrier(2)

    def work(user: int) -> dict[str, object]:
        with bound_context(user=user):
            barrier.wait()
            return get_context()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, (1, 2))) == [{"user": 1}, {"user": 2}]
        # The same threads again: nothing is left on them.
        assert list(pool.map(lambda _: get_context(), range(4))) == [{}] * 4


def test_tasks_do_not_see_each_other() -> None:
    async def work(user: int) -> dict[str, object]:
        with bound_context(user=user):
            await asyncio.sleep(0)
            return get_context()

    async def both() -> list[dict[str, object]]:
        return list(await asyncio.gather(work(1), work(2)))

    assert asyncio.run(both()) == [{"user": 1}, {"user": 2}]
