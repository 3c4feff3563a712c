"""Produce the items of a stream, and close it, under the context in which the stream was made."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TypeVar

from bemi_django.capture.context import layer_in_force
from bemi_django.capture.layers import Layer

Item = TypeVar("Item")


def bind_iterator(items: Iterable[Item]) -> Iterator[Item]:
    """Return an iterator whose items are produced under the present context, wherever it is consumed.

    Args:
        items: The iterable to consume.
    """
    return _iterate(iter(items), layer_in_force.get())


def bind_async_iterator(items: AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Return an asynchronous iterator with the same effect as :func:`bind_iterator`.

    Args:
        items: The asynchronous iterable to consume.
    """
    return _iterate_async(aiter(items), layer_in_force.get())


def bind_call(call: Callable[[], Item]) -> Callable[[], Item]:
    """Return a function that calls another under the present context, such as the one that closes a stream.

    Args:
        call: The function to call.
    """
    layer = layer_in_force.get()

    def bound() -> Item:
        token = layer_in_force.set(layer)
        try:
            return call()
        finally:
            layer_in_force.reset(token)

    return bound


def _iterate(items: Iterator[Item], layer: Layer) -> Iterator[Item]:
    while True:
        token = layer_in_force.set(layer)
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            # Blocks that the producer has entered stay open until it produces the next item.
            layer = layer_in_force.get()
            layer_in_force.reset(token)
        yield item


async def _iterate_async(items: AsyncIterator[Item], layer: Layer) -> AsyncIterator[Item]:
    while True:
        token = layer_in_force.set(layer)
        try:
            item = await anext(items)
        except StopAsyncIteration:
            return
        finally:
            layer = layer_in_force.get()
            layer_in_force.reset(token)
        try:
            yield item
        except GeneratorExit:
            await _close(items, layer)
            raise


async def _close(items: AsyncIterator[Item], layer: Layer) -> None:
    """End a producer whose client has left; the event loop would do it in a task without a context."""
    token = layer_in_force.set(layer)
    try:
        if close := getattr(items, "aclose", None):
            await close()
    finally:
        layer_in_force.reset(token)
