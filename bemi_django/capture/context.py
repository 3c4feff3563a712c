"""The application's context: who, where and how, for every write of this task, thread or request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any, TypeVar

from bemi_django.capture.tracing import active_span
from bemi_django.wire import SKIP_KEY

logger = logging.getLogger(__name__)

Provider = Callable[[], Mapping[str, Any]]
Item = TypeVar("Item")

# An inner context that has an id of its own names the outer one's beside it.
_PARENTS = {"id": "parent_id", "request_id": "parent_request_id", "task_id": "parent_task_id"}


class Context(dict[str, Any]):
    """A context in force, which nobody changes; ``encoded`` is its JSON, once somebody has made it."""

    __slots__ = ("encoded",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.encoded: str | None = None


class Layer:
    """One level of context over its parent; a provider is asked once, at the first write.

    What it does not know yet (None) it is asked again at the next one, and hides nothing that the
    parent knows. ``defaults`` hold where neither the parent nor the layer itself says otherwise.
    """

    __slots__ = ("_asking", "_defaults", "_found", "_merged", "_parent", "_provider", "_values")

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
        self._asking: set[int] = set()
        self._merged: Context | None = None
        self._found: tuple[Context, Mapping[str, Any], Context] | None = None

    def resolve(self) -> Context:
        """For a write: what is found now holds from now on, but for what nobody knows yet."""
        if self._merged is not None:
            return self._merged
        inherited = self._parent.resolve() if self._parent else _NOTHING
        provided = self._provided()
        found = self._found
        # Nothing new since the last write: the same context, whose JSON is known.
        if found is None or found[0] is not inherited or found[1] != provided:
            found = self._found = inherited, provided, Context(self._over(inherited, provided))
        merged = found[2]
        if self._is_final(provided):
            self._merged = merged
            self._provider = None
        return merged

    def peek(self) -> dict[str, Any]:
        """What a write would find now; a provider is asked again when the write comes."""
        if self._merged is not None:
            return self._merged
        return self._over(self._parent.peek() if self._parent else {}, self._provided())

    def _is_final(self, provided: Mapping[str, Any]) -> bool:
        if self._parent is not None and self._parent._merged is None:
            return False
        # Nobody is logged in when the session is made that the login needs.
        return get_ident() not in self._asking and all(value is not None for value in provided.values())

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
        provider, thread = self._provider, get_ident()
        # A provider that writes itself finds no provider to call. Other threads of the same request do:
        # to ask twice is better than a lock held while somebody's function runs.
        if provider is None or thread in self._asking:
            return {}
        self._asking.add(thread)
        try:
            return dict(provider())
        except Exception:
            # An audit trail without a name beats a write that fails because of the audit trail.
            logger.warning("the context function failed; the write has no context from it", exc_info=True)
            return {}
        finally:
            self._asking.discard(thread)


_NOTHING = Context({})
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
    return {**active_span(), **_current.get().peek()}


@contextmanager
def bound_context(**values: Any) -> Iterator[None]:
    """Add values to the context inside the block and restore what was there after it.

    ``with bound_context(reason="import", batch=7): ...``. Blocks nest; the inner value wins. Where it
    is an id (``id``, ``request_id``, ``task_id``), the outer one stays as ``parent_id`` and so on.
    """
    with _Entered(Layer(values, _current.get())):
        yield


@contextmanager
def skip_tracking(*, reason: str) -> Iterator[None]:
    """Leave the rows that the block writes out of the log, and say so there.

    ``with skip_tracking(reason="nightly rebuild"): ...``. For every table a transaction leaves one
    change with the operation SKIPPED: its context has who, the reason and the number of rows.
    """
    with bound_context(**{SKIP_KEY: True, "reason": reason}):
        yield


def provided_context(provider: Provider, **defaults: Any) -> AbstractContextManager[None]:
    """Like :func:`bound_context`, with values that are asked for at the first write of the block.

    ``defaults`` hold where neither they nor the outer context have the key.
    """
    return _Entered(Layer({}, _current.get(), provider, defaults))


def current() -> Context:
    """The context in force, not copied: for the hooks, which only read it."""
    context = _current.get().resolve()
    span = active_span()
    return Context({**span, **context}) if span else context


def inheritable() -> dict[str, Any]:
    """What work that is handed on is to find: all but the span and the silence of this block."""
    context = dict(_current.get().peek())
    context.pop(SKIP_KEY, None)
    return context


def keep(items: Iterable[Item]) -> Iterator[Item]:
    """Produce the items under the context in force at this call, whoever asks for them later."""
    return _keep(iter(items), _current.get())


def akeep(items: AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Like :func:`keep`, for what is produced asynchronously."""
    return _akeep(aiter(items), _current.get())


def _keep(items: Iterator[Item], layer: Layer) -> Iterator[Item]:
    while True:
        token = _current.set(layer)
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            # Blocks that are open where the item was produced stay open for the next one.
            layer = _current.get()
            _current.reset(token)
        yield item


async def _akeep(items: AsyncIterator[Item], layer: Layer) -> AsyncIterator[Item]:
    while True:
        token = _current.set(layer)
        try:
            item = await anext(items)
        except StopAsyncIteration:
            return
        finally:
            layer = _current.get()
            _current.reset(token)
        yield item


class _Entered:
    """The layer inside a block. Each request has one, and a generator takes three times as long."""

    __slots__ = ("_layer", "_token")

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        self._token = _current.set(self._layer)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)
