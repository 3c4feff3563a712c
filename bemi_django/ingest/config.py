"""The configuration of a worker: two databases, a slot and a publication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class WorkerConfig(NamedTuple):
    """Where a worker reads from and writes to.

    ``source`` and ``destination`` are parameters of libpq. ``accept_gap`` records lost history as a gap
    instead of stopping. ``publish`` makes the publication where it is missing. ``failover`` lets standbys
    synchronise the slot, from PostgreSQL 17 on.
    """

    source: dict[str, Any]
    destination: dict[str, Any]
    slot: str
    publication: str
    accept_gap: bool = False
    publish: Callable[[], None] | None = None
    failover: bool = True
