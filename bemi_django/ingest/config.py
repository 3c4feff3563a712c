"""What a worker works on: two databases, a slot and a publication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class WorkerConfig(NamedTuple):
    """``source`` and ``destination`` are libpq's parameters; ``publish`` makes the publication."""

    source: dict[str, Any]
    destination: dict[str, Any]
    slot: str
    publication: str
    accept_gap: bool = False
    publish: Callable[[], None] | None = None
