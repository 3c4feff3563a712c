"""Context functions, synchronous and asynchronous."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


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
