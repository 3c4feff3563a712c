"""The application's context: who writes, where and how, for each task, thread or request."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

from bemi_django.capture.tracing import active_span
from bemi_django.wire import SKIP_KEY

logger = logging.getLogger(__name__)

Provider = Callable[[], Mapping[str, Any]]
Item = TypeVar("Item")

# A context with an id of its own keeps the id of the enclosing context under the second name.
_PARENTS = {"id": "parent_id", "request_id": "parent_request_id", "task_id": "parent_task_id"}


class Context(dict[str, Any]):
    """An immutable context in force. ``encoded`` caches its JSON."""

    __slots__ = ("encoded",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.encoded: str | None = None


class Provisional(dict[str, Any]):
    """Values of a provider that is called again at the next write, since it could not find them all."""


class Layer:
    """Values on top of those of a parent layer.

    The provider is called at the first write. If one of its values is None, the parent's value is used
    and the provider is called again at the next write. ``defaults`` apply to keys that neither the parent nor
    this layer has.
    """

    __slots__ = ("_defaults", "_found", "_merged", "_parent", "_provider", "_values")

    def __init__(
        self,
        values: Mapping[str, Any],
        parent: Layer | None = None,
        provider: Provider | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._values = dict(values)
        self._parent = parent
        self._provider = provider
        self._defaults = defaults or {}
        self._merged: Context | None = None
        self._found: tuple[Context, Mapping[str, Any], Context] | None = None

    def resolve(self) -> Context:
        """Return the context for a write, and keep it for later writes unless some value is still unknown."""
        if self._merged is not None:
            return self._merged
        inherited = self._parent.resolve() if self._parent else _NOTHING
        provided = self._provided()
        found = self._found
        # Reuse the context of the last write if nothing is new, since its JSON is cached.
        if found is None or found[0] is not inherited or found[1] != provided:
            found = self._found = inherited, provided, Context(self._over(inherited, provided))
        merged = found[2]
        if self._is_final(provided):
            self._merged = merged
            self._provider = None
        return merged

    def peek(self) -> dict[str, Any]:
        """Return what a write would find now, without keeping it."""
        if self._merged is not None:
            return self._merged
        return self._over(self._parent.peek() if self._parent else {}, self._provided())

    def _is_final(self, provided: Mapping[str, Any]) -> bool:
        if self._parent is not None and self._parent._merged is None:
            return False
        # A login creates its session before it knows the user, so None is not final.
        if isinstance(provided, Provisional) or self in _asked.get():
            return False
        return all(value is not None for value in provided.values())

    def _over(self, inherited: Mapping[str, Any], provided: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: provided[key] for key in provided if provided[key] is not None or key not in inherited}
        own.update(self._values)
        merged = {**self._defaults, **inherited, **own}
        for key, parent in _PARENTS.items() if inherited else ():
            outer = inherited.get(key)
            if outer is not None and merged[key] != outer and parent not in own:
                merged[parent] = outer
        return merged

    def _provided(self) -> Mapping[str, Any]:
        provider, asked = self._provider, _asked.get()
        # A provider that writes must not be called from its own write. Other threads and tasks of the same
        # request may call it: calling it twice is better than holding a lock while it runs.
        if provider is None or self in asked:
            return {}
        token = _asked.set((*asked, self))
        try:
            found = guarded(provider)
            return found if isinstance(found, Provisional) else dict(found)
        except Exception:
            # A change without a user is better than a write that fails because of the audit trail.
            logger.warning(
                "the context function failed; the write is recorded without its values", exc_info=True
            )
            return {}
        finally:
            _asked.reset(token)


# The layers whose providers are running in this thread or task.
_asked: ContextVar[tuple[Layer, ...]] = ContextVar("bemi_asked", default=())

#: Blocks in which providers run. Hooks add blocks that keep a failure out of the caller's transaction.
guards: list[Callable[[], AbstractContextManager[object]]] = []

#: Function with which a provider may wait for an awaitable, or None where it must not.
waiter: ContextVar[Callable[[Awaitable[Any]], Any] | None] = ContextVar("bemi_waiter", default=None)


@lru_cache(maxsize=64)
def warn_once(message: str) -> None:
    """Log a warning, unless the same one was logged recently.

    Args:
        message: The warning.
    """
    logger.warning("%s", message)


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


_NOTHING = Context({})
_EMPTY = Layer({})
#: The innermost layer of this thread or task.
layer_in_force: ContextVar[Layer] = ContextVar("bemi_context", default=_EMPTY)


def set_context(values: Mapping[str, Any]) -> None:
    """Replace the context of this thread or task until it is set again.

    In a request or inside :func:`bound_context`, the previous context returns when that ends.
    Example: ``set_context({"process": "MyWorker"})``.

    Args:
        values: The new context. Values that JSON cannot hold are stored as their ``str()``.
    """
    layer_in_force.set(Layer(values))


def get_context() -> dict[str, Any]:
    """Return a copy of the context that a write would carry now."""
    return {**active_span(), **layer_in_force.get().peek()}


@contextmanager
def bound_context(**values: Any) -> Iterator[None]:
    """Add values to the context inside the block, and restore the previous context after it.

    Blocks nest, and inner values take precedence. An outer ``id``, ``request_id`` or ``task_id`` is kept
    as ``parent_id``, ``parent_request_id`` or ``parent_task_id``.
    Example: ``with bound_context(reason="import", batch=7): ...``.

    Args:
        values: What to add. Values that JSON cannot hold are stored as their ``str()``.
    """
    with _Entered(Layer(values, layer_in_force.get())):
        yield


@contextmanager
def skip_tracking(*, reason: str) -> Iterator[None]:
    """Leave the rows that the block writes out of the log, and record that they were left out.

    Each transaction leaves one change per table, with the operation SKIPPED. Its context holds the
    reason and the number of rows. Example: ``with skip_tracking(reason="nightly rebuild"): ...``.

    Args:
        reason: Why the rows are not recorded.
    """
    with bound_context(**{SKIP_KEY: True, "reason": reason}):
        yield


def provided_context(provider: Provider, **defaults: Any) -> AbstractContextManager[None]:
    """Return a block like :func:`bound_context` whose values are computed at its first write.

    Args:
        provider: Function that returns the values. A failure is logged and never reaches the write.
        defaults: Values of keys that neither the provider nor the enclosing context has.
    """
    return _Entered(Layer({}, layer_in_force.get(), provider, defaults))


def current() -> Context:
    """Return the context in force for a write. It is not a copy: do not change it."""
    context = layer_in_force.get().resolve()
    span = active_span()
    return Context({**span, **context}) if span else context


def inheritable() -> dict[str, Any]:
    """Return the context for work that another process does later.

    Returns:
        The context without the span and without :func:`skip_tracking`.
    """
    context = dict(layer_in_force.get().peek())
    context.pop(SKIP_KEY, None)
    return context


class _Entered:
    """Block with a layer. Every request has one, and a generator would take three times as long."""

    __slots__ = ("_layer", "_token")

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        self._token = layer_in_force.set(self._layer)

    def __exit__(self, *error: object) -> None:
        layer_in_force.reset(self._token)
