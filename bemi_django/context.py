"""The application's context: who, where and how, for every write of this task, thread or request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger(__name__)

Provider = Callable[[], Mapping[str, Any]]


class Layer:
    """One level of context over its parent; a provider is asked once, at the first write."""

    __slots__ = ("_merged", "_parent", "_provider", "_values")

    def __init__(
        self,
        values: Mapping[str, Any],
        parent: Layer | None = None,
        provider: Provider | None = None,
    ) -> None:
        self._values = dict(values)
        self._parent = parent
        self._provider = provider
        self._merged: dict[str, Any] | None = None

    def resolve(self) -> dict[str, Any]:
        """For a write: what is found now holds from now on."""
        if self._merged is None:
            inherited = self._parent.resolve() if self._parent else {}
            self._merged = {**inherited, **self._provided(), **self._values}
            self._provider = None
        return self._merged

    def peek(self) -> dict[str, Any]:
        """What a write would find now; a provider is asked again when the write comes."""
        if self._merged is not None:
            return self._merged
        inherited = self._parent.peek() if self._parent else {}
        return {**inherited, **self._provided(), **self._values}

    def _provided(self) -> Mapping[str, Any]:
        # Away while it is called: a provider that writes itself finds no provider to call.
        provider, self._provider = self._provider, None
        if provider is None:
            return {}
        try:
            return provider()
        except Exception:
            # An audit trail without a name beats a write that fails because of the audit trail.
            logger.warning("the context function failed; the write has no context from it", exc_info=True)
            return {}
        finally:
            self._provider = provider


_EMPTY = Layer({})
_current: ContextVar[Layer] = ContextVar("bemi_context", default=_EMPTY)


def set_context(values: Mapping[str, Any]) -> None:
    """Replace the context of this thread or task until it is set again.

    ``set_context({"process": "MyWorker"})``. In a request or under :func:`bound_context` it
    lasts until that ends. Values must be JSON; what is not is stored as its ``str()``.
    """
    _current.set(Layer(values))


def get_context() -> dict[str, Any]:
    """Return a copy of the context that a write would carry now; looking settles nothing."""
    return dict(_current.get().peek())


@contextmanager
def bound_context(**values: Any) -> Iterator[None]:
    """Add values to the context inside the block and restore what was there after it.

    ``with bound_context(reason="import", batch=7): ...``. Blocks nest; the inner value wins.
    """
    token = _current.set(Layer(values, _current.get()))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def provided_context(provider: Provider) -> Iterator[None]:
    """Like :func:`bound_context`, with values that are asked for at the first write of the block."""
    token = _current.set(Layer({}, _current.get(), provider))
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Mapping[str, Any]:
    """The context in force, not copied: for the hooks, which only read it."""
    return _current.get().resolve()
