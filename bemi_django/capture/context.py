"""The application's context: who writes, where and how, for each task, thread or request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Any

from bemi_django.capture.layers import Context, Layer, Provider, Skipping
from bemi_django.capture.tracing import active_span
from bemi_django.wire import SKIP_KEY

_EMPTY = Layer({})
#: The innermost layer of this thread or task.
layer_in_force: ContextVar[Layer] = ContextVar("bemi_context", default=_EMPTY)
# The layer of threads that have none.
_of_process = _EMPTY


def set_context(values: Mapping[str, Any]) -> None:
    """Replace the context of this thread or task until it is set again.

    In a request or inside :func:`bound_context`, the previous context returns when that ends.
    Example: ``set_context({"process": "MyWorker"})``.

    Args:
        values: The new context. Values that JSON cannot hold are stored as their ``str()``.
    """
    layer, replaced = Layer(values), layer_in_force.get()
    layer.block = replaced.block or replaced
    layer_in_force.set(layer)


def get_context() -> dict[str, Any]:
    """Return a copy of the context that a write would carry now."""
    return {**active_span(), **_innermost().peek()}


@contextmanager
def bound_context(**values: Any) -> Iterator[None]:
    """Add values to the context inside the block, and restore the previous context after it.

    Blocks nest, and inner values take precedence. An outer ``id``, ``request_id`` or ``task_id`` is kept
    as ``parent_id``, ``parent_request_id`` or ``parent_task_id``.
    Example: ``with bound_context(reason="import", batch=7): ...``.

    Args:
        values: What to add. Values that JSON cannot hold are stored as their ``str()``.
    """
    with _Entered(Layer(values, _innermost())):
        yield


@contextmanager
def skip_tracking(*, reason: str) -> Iterator[None]:
    """Leave the rows that the block writes out of the log, and record that they were left out.

    Each transaction leaves one change per table, with the operation SKIPPED. Its context holds the
    reason and the number of rows. Example: ``with skip_tracking(reason="nightly rebuild"): ...``.

    Args:
        reason: Why the rows are not recorded.
    """
    with bound_context(**{SKIP_KEY: Skipping(True), "reason": reason}):
        yield


def provided_context(provider: Provider, **defaults: Any) -> AbstractContextManager[None]:
    """Return a block like :func:`bound_context` whose values are computed at its first write.

    Args:
        provider: Function that returns the values. A failure is logged and never reaches the write.
        defaults: Values of keys that neither the provider nor the enclosing context has.
    """
    return _Entered(Layer({}, _in_force(), provider, defaults))


def kept_context() -> AbstractContextManager[None]:
    """Return a block that has the present context, whenever and wherever it is entered."""
    return _Entered(_in_force(), is_own=False)


@contextmanager
def process_context(provider: Provider) -> Iterator[None]:
    """Provide the context of the block, and of all threads of the process that have none of their own.

    Requests have their own, even if they are served inside the block.

    Args:
        provider: Function that returns the values, as for :func:`provided_context`.
    """
    global _of_process
    layer, outer = Layer({}, _in_force(), provider), _of_process
    _of_process = layer
    try:
        with _Entered(layer):
            yield
    finally:
        _of_process = outer


def current() -> Context:
    """Return the context in force for a write. It is not a copy: do not change it."""
    context = _innermost().resolve()
    span = active_span()
    return Context({**span, **context}) if span else context


def inheritable() -> dict[str, Any]:
    """Return the context for work that another process does later.

    Returns:
        The context without the span and without :func:`skip_tracking`.
    """
    context = dict(_innermost().peek())
    if is_skipping(context):
        del context[SKIP_KEY]
    return context


def is_skipping(context: Mapping[str, Any]) -> bool:
    """Return whether a context is that of :func:`skip_tracking`."""
    return type(context.get(SKIP_KEY)) is Skipping


def _in_force() -> Layer:
    layer = layer_in_force.get()
    while (outer := (layer.block or layer).outer_after_end) is not None:
        layer = outer
    return layer


def _is_within(layer: Layer | None, block: Layer) -> bool:
    while layer is not None and layer is not block:
        layer = layer.block or layer.outer
    return layer is block


def _innermost() -> Layer:
    layer = _in_force()
    return _of_process if layer is _EMPTY else layer


class _Entered:
    """Block with a layer. Every request has one, and a generator would take three times as long."""

    __slots__ = ("_is_own", "_layer", "_token")

    def __init__(self, layer: Layer, is_own: bool = True) -> None:
        self._layer = layer
        self._is_own = is_own

    def __enter__(self) -> None:
        self._token = layer_in_force.set(self._layer)
        if self._is_own:
            outer = self._token.old_value
            self._layer.outer = _EMPTY if outer is Token.MISSING else outer

    def __exit__(self, *error: object) -> None:
        if self._is_own and not _is_within(layer_in_force.get(), self._layer):
            # The block is that of a generator that is closed late, perhaps in another request of this thread.
            self._layer.outer_after_end = self._layer.outer
            return
        try:
            layer_in_force.reset(self._token)
        except ValueError:
            # The block ends in another task or thread than it began in, as that of an asynchronous generator
            # does which nobody reads to its end. There it would stay in force.
            if self._is_own:
                self._layer.outer_after_end = self._layer.outer
