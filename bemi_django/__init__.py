"""An audit trail of every committed row change, read from PostgreSQL's write-ahead log."""

from __future__ import annotations

from bemi_django.capture.api import Bemi, apply_context
from bemi_django.capture.context import bound_context, get_context, set_context, skip_tracking
from bemi_django.declarations import track
from bemi_django.events.api import arecord, record
from bemi_django.exceptions import BemiError
from bemi_django.handlers import on_change

__all__ = [
    "Bemi",
    "BemiError",
    "apply_context",
    "arecord",
    "bound_context",
    "get_context",
    "on_change",
    "record",
    "set_context",
    "skip_tracking",
    "track",
]
