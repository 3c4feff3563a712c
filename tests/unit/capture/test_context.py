from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from bemi_django import bound_context, get_context, set_context, skip_tracking
from bemi_django.capture.context import current, inheritable, kept_context, process_context, provided_context
from bemi_django.capture.context_encoding import context_json
from bemi_django.capture.streams import bind_async_iterator, bind_call, bind_iterator
from tests.support.polling import DEADLINE


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


def test_a_kept_context_is_the_one_of_its_making() -> None:
    with bound_context(a=1):
        kept = kept_context()
    with bound_context(b=2):
        with kept:
            assert get_context() == {"a": 1}
        assert get_context() == {"b": 2}


def in_a_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_what_copies_a_context_takes_ours_along() -> None:
    async def look() -> dict[str, Any]:
        return get_context()

    async def everywhere() -> list[dict[str, Any]]:
        with ThreadPoolExecutor(1) as pool:
            return [
                await asyncio.create_task(look()),
                await asyncio.to_thread(get_context),
                await sync_to_async(get_context)(),
                await sync_to_async(async_to_sync(look))(),
                pool.submit(copy_context().run, get_context).result(),
                pool.submit(get_context).result(),
            ]

    with bound_context(user=7):
        assert asyncio.run(everywhere()) == [{"user": 7}] * 5 + [{}]


def test_threads_without_a_context_have_that_of_the_process() -> None:
    def bound() -> dict[str, Any]:
        with bound_context(b=2):
            return {"write": dict(current()), "look": get_context(), "publish": inheritable()}

    def replaced() -> dict[str, Any]:
        set_context({"c": 3})
        return get_context()

    def request() -> dict[str, Any]:
        with provided_context(lambda: {"user": 7}):
            return get_context()

    with process_context(lambda: {"a": 1}):
        assert get_context() == {"a": 1} == in_a_thread(get_context) == in_a_thread(inheritable)
        assert in_a_thread(bound) == dict.fromkeys(("write", "look", "publish"), {"a": 1, "b": 2})
        assert in_a_thread(replaced) == {"c": 3}
        assert in_a_thread(request) == {"user": 7}
        with process_context(lambda: {"a": 2}):
            assert in_a_thread(get_context) == {"a": 2}
        assert in_a_thread(get_context) == {"a": 1}
    assert get_context() == {} == in_a_thread(get_context)


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


def test_a_provider_that_gives_no_dict_costs_the_context_not_the_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with provided_context(lambda: None), bound_context(step=1):  # type: ignore[arg-type,return-value]
        assert current() == {"step": 1}
    assert "context function failed" in caplog.text


def test_a_provider_that_is_slow_is_asked_by_every_thread_that_writes() -> None:
    barrier = threading.Barrier(2)

    def provider() -> dict[str, object]:
        barrier.wait(DEADLINE)
        return {"user": "ann"}

    with provided_context(provider), ThreadPoolExecutor(2) as pool:
        found = [pool.submit(copy_context().run, current) for _ in range(2)]
        assert [future.result() for future in found] == [{"user": "ann"}] * 2


@pytest.mark.parametrize("look", [current, get_context])
def test_a_thread_that_is_late_finds_what_another_one_has_settled(look: Callable[[], Any]) -> None:
    is_waiting, may_go_on = threading.Event(), threading.Event()

    def outer() -> dict[str, object]:
        if threading.current_thread() is not threading.main_thread():
            is_waiting.set()
            assert may_go_on.wait(DEADLINE)
        return {"job": "import"}

    expected = {"job": "import", "user": 7}
    with provided_context(outer), provided_context(lambda: {"user": 7}), ThreadPoolExecutor(1) as pool:
        late = pool.submit(copy_context().run, look)
        assert is_waiting.wait(DEADLINE)
        try:
            assert current() == expected
        finally:
            may_go_on.set()
        assert late.result() == expected
        assert current() == expected


def test_what_a_provider_does_not_know_hides_nothing() -> None:
    with bound_context(user=7, team=1), provided_context(lambda: {"user": None, "team": 2, "path": None}):
        assert current() == {"user": 7, "team": 2, "path": None}


def test_what_a_provider_does_not_know_yet_is_asked_again() -> None:
    user = None
    with provided_context(lambda: {"user": user}), bound_context(step=1):
        assert current() == {"user": None, "step": 1}
        user = "ann"
        assert current() == {"user": "ann", "step": 1}
        user = "bob"
        assert current() == {"user": "ann", "step": 1}


def test_a_context_that_says_nothing_new_is_the_same_and_its_json_is_known() -> None:
    answers: Iterator[dict[str, Any]] = iter([{"user_id": None}, {"user_id": None}, {"user_id": 7}])
    with bound_context(process="x"), provided_context(lambda: next(answers)):
        first = current()
        text = context_json(first)
        assert current() is first and context_json(first) is text
        assert current() is not first
        assert (text, context_json(current())) == (
            '{"process": "x","user_id": null}',
            '{"process": "x","user_id": 7}',
        )


def test_defaults_give_way_to_the_outer_context_and_to_the_provider() -> None:
    with bound_context(a=1), provided_context(lambda: {"b": 1}, a=0, b=0, c=0):
        assert current() == {"a": 1, "b": 1, "c": 0}


@pytest.mark.parametrize("key", ["id", "request_id", "task_id"])
def test_an_inner_id_names_the_outer_one_as_its_parent(key: str) -> None:
    parent = f"parent_{key}"
    with bound_context(**{key: "a"}):
        with bound_context(**{key: "a"}, x=1):
            assert current() == {key: "a", "x": 1}
        with bound_context(**{key: "b"}):
            assert current() == {key: "b", parent: "a"}
            with bound_context(reason="import"):
                assert current() == {key: "b", parent: "a", "reason": "import"}
            with bound_context(**{key: "c"}):
                assert current() == {key: "c", parent: "b"}
            with bound_context(**{key: "c", parent: "mine"}):
                assert current() == {key: "c", parent: "mine"}


def test_no_key_of_a_context_keeps_rows_out_of_the_log() -> None:
    with bound_context(_bemi_skip=True, _bemi_invalid=1, _bemi_dropped=[]):
        assert json.loads(context_json(current())) == {
            "app__bemi_skip": True,
            "app__bemi_invalid": 1,
            "app__bemi_dropped": [],
        }
        assert inheritable() == current()
        with skip_tracking(reason="rebuild"):
            assert json.loads(context_json(current()))["_bemi_skip"] is True


def test_to_skip_needs_a_reason_and_is_not_handed_on() -> None:
    with bound_context(user=7), skip_tracking(reason="rebuild"):
        assert current() == {"user": 7, "_bemi_skip": True, "reason": "rebuild"}
        assert inheritable() == {"user": 7, "reason": "rebuild"}
    with pytest.raises(TypeError):
        skip_tracking()  # type: ignore[call-arg]


def test_items_are_produced_under_the_context_that_was_in_force() -> None:
    def items() -> Iterator[dict[str, object]]:
        yield get_context()
        with bound_context(step=1):
            yield get_context()
            yield get_context()
        yield get_context()

    with bound_context(user=7):
        kept = bind_iterator(items())
    found = []
    with bound_context(user=8):
        for item in kept:
            assert get_context() == {"user": 8}
            found.append(item)
    assert found == [{"user": 7}, {"user": 7, "step": 1}, {"user": 7, "step": 1}, {"user": 7}]


def test_asynchronous_items_are_produced_under_the_context_that_was_in_force() -> None:
    async def items() -> AsyncIterator[dict[str, object]]:
        yield get_context()
        await asyncio.sleep(0)
        with bound_context(step=1):
            yield get_context()
            await asyncio.sleep(0)
            yield get_context()

    async def consume() -> list[dict[str, object]]:
        with bound_context(user=7):
            kept = bind_async_iterator(items())
        found = []
        async for item in kept:
            assert get_context() == {}
            found.append(item)
        return found

    assert asyncio.run(consume()) == [{"user": 7}, {"user": 7, "step": 1}, {"user": 7, "step": 1}]


def test_a_block_that_ends_in_another_thread_is_over_in_both() -> None:
    """As of a dependency of FastAPI with ``yield``, whose halves run in threads."""
    block, outer = bound_context(a=1), copy_context()
    outer.run(block.__enter__)
    inner = outer.run(copy_context)
    in_a_thread(lambda: inner.run(block.__exit__, None, None, None))
    assert inner.run(get_context) == outer.run(get_context) == {}


def test_an_abandoned_generator_leaves_no_context_behind() -> None:
    """An event loop ends it in a task of its own."""
    ends: list[dict[str, Any]] = []
    is_over = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            with bound_context(job="import"):
                try:
                    for number in range(3):
                        yield number
                finally:
                    ends.append(get_context())
        finally:
            is_over.set()

    async def work() -> list[dict[str, Any]]:
        with bound_context(user=7):
            async for _ in numbers():
                break
            await is_over.wait()
            with bound_context(step=1):
                return [get_context(), await asyncio.create_task(looking())]

    async def looking() -> dict[str, Any]:
        return get_context()

    failures: list[dict[str, Any]] = []

    async def watched() -> list[dict[str, Any]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
        return await work()

    assert asyncio.run(asyncio.wait_for(watched(), DEADLINE)) == [{"user": 7, "step": 1}] * 2
    assert ends == [{"user": 7, "job": "import"}]
    assert failures == []


def test_a_generator_that_is_closed_in_a_later_request_leaves_its_context_alone() -> None:
    """As the garbage collector does in a thread that serves one request after another."""

    def numbers() -> Iterator[int]:
        with bound_context(job="import"):
            yield 1
            yield 2

    late = numbers()
    with provided_context(lambda: {"user": 1}):
        assert next(late) == 1
    assert get_context() == {}
    with provided_context(lambda: {"user": 2}):
        late.close()  # type: ignore[attr-defined]
        assert get_context() == current() == {"user": 2}
    assert get_context() == {}


def test_a_generator_that_is_closed_inside_a_later_block_leaves_no_context_behind() -> None:
    def numbers() -> Iterator[int]:
        with bound_context(job="import"):
            yield 1

    late = numbers()
    assert next(late) == 1
    with bound_context(user=7):
        late.close()  # type: ignore[attr-defined]
    assert get_context() == {}


def test_a_context_that_was_set_in_a_block_ends_with_it_wherever_that_ends() -> None:
    async def numbers() -> AsyncIterator[int]:
        with bound_context(job="import"):
            set_context({"user": 8})
            set_context({"user": 9})
            yield 1

    async def work() -> list[dict[str, Any]]:
        with bound_context(user=7):
            stream = numbers()
            await anext(stream)
            found = [get_context()]
            await asyncio.create_task(stream.aclose())  # type: ignore[attr-defined]
            return [*found, get_context()]

    assert asyncio.run(work()) == [{"user": 9}, {"user": 7}]


def test_a_stream_that_a_client_leaves_ends_under_its_context() -> None:
    """The server forgets the stream between two of its items."""
    ends: list[dict[str, Any]] = []
    is_over = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ends.append(get_context())
            is_over.set()

    async def serve() -> None:
        with bound_context(user=7):
            stream = bind_async_iterator(numbers())
        assert await anext(stream) == 1
        assert get_context() == {}
        del stream
        await is_over.wait()

    asyncio.run(asyncio.wait_for(serve(), DEADLINE))
    assert ends == [{"user": 7}]


def test_a_stream_that_nobody_can_close_is_left_as_any_other() -> None:
    class Numbers:
        """An asynchronous iterator that is no generator."""

        def __aiter__(self) -> Numbers:
            return self

        async def __anext__(self) -> dict[str, Any]:
            return get_context()

    async def serve() -> tuple[dict[str, Any], dict[str, Any]]:
        with bound_context(user=7):
            stream: Any = bind_async_iterator(Numbers())
        found = await anext(stream)
        await stream.aclose()
        return found, get_context()

    assert asyncio.run(serve()) == ({"user": 7}, {})


def test_a_kept_context_is_not_over_when_a_block_of_it_ends_in_another_task() -> None:
    with bound_context(user=7):
        kept = kept_context()

    async def numbers() -> AsyncIterator[int]:
        with kept:
            yield 1

    async def work() -> None:
        stream = numbers()
        await anext(stream)
        await asyncio.create_task(stream.aclose())  # type: ignore[attr-defined]

    asyncio.run(work())
    with kept:
        assert get_context() == {"user": 7}


def test_a_call_is_made_under_the_context_that_was_in_force() -> None:
    with bound_context(user=7):
        bound = bind_call(get_context)
    with bound_context(user=8):
        assert bound() == {"user": 7}
        assert get_context() == {"user": 8}


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
