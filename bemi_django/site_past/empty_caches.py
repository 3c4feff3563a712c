"""Caches of their own for requests of the past, so that neither time sees what the other has kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache


@contextmanager
def empty_caches() -> Iterator[None]:
    """Replace all caches of the thread or task, inside the block, by ones that keep nothing."""
    before = {alias: caches[alias] for alias in settings.CACHES}
    for alias in before:
        caches[alias] = DummyCache("bemi_django", {})
    try:
        yield
    finally:
        for alias, cache in before.items():
            caches[alias] = cache
