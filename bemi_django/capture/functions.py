"""Call context functions, synchronous and asynchronous."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from typing import Any, TypeVar

Item = TypeVar("Item")

#: Blocks in which context functions run. Those of the hooks keep a failure out of the caller's transaction.
guards: list[Callable[[], AbstractContextManager[object]]] = []

#: Function with which a context function may wait for an awaitable, or None where it must not.
waiter: ContextVar[Callable[[Awaitable[Any]], Any] | None] = ContextVar("bemi_waiter", default=None)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling a function gives an awaitable.

    Args:
        function: A function, or an object with ``__call__``.
    """
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the object may define an async __call__
    )


def accepts(function: Callable[..., Any], arguments: int) -> bool:
    """Return whether a function can be called with a number of positional arguments.

    Args:
        function: A function, or any other callable.
        arguments: The number of arguments.
    """
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:
        # Functions written in C may have no signature.
        return True
    return True


def values_of(found: Any) -> Mapping[str, Any]:
    """Return what a synchronous context function has returned.

    Args:
        found: The function's result.

    Raises:
        TypeError: The result is an awaitable.
    """
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError("the context function returned an awaitable: declare it with async def")
    values: Mapping[str, Any] = found
    return values


def guarded(function: Callable[[], Item]) -> Item:
    """Call a function that may query databases in the middle of the caller's transactions.

    Args:
        function: What to call. Its exceptions are not handled here.

    Returns:
        What the function returns.
    """
    with ExitStack() as blocks:
        for guard in guards:
            blocks.enter_context(guard())
        return function()
