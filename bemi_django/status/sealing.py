"""Up to when the log is sealed."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from bemi_django import conf
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

_MAY_READ = "SELECT has_table_privilege('_bemi.chains', 'SELECT')"
# With a queue, each lane has a chain.
_SEALED = """
SELECT split_part(name, '.', 1), source, bool_or(is_open), max(sealed_at) FROM _bemi.chains WHERE name <> ''
GROUP BY 1, 2 ORDER BY 4
"""


class Sealing(NamedTuple):
    """The chain of a slot, or those of its lanes.

    Attributes:
        slot: Name of the slot.
        source: Number of the source in the ids of its changes.
        is_open: Whether its worker seals what it writes.
        until: When the last link was added.
    """

    slot: str
    source: int
    is_open: bool
    until: datetime


def sealed_until(source: int) -> datetime | None:
    """Return when the last change of a source was sealed, if any was.

    Args:
        source: Number of the source in the ids of its changes.
    """
    return next((sealing.until for sealing in read_sealings() if sealing.source == source), None)


def read_sealings() -> list[Sealing]:
    """Return the chains of the log; none for a role that may not read them."""
    with closed_cursor(conf.destination()) as cursor:
        if not installed.has(cursor, "seal_v1"):
            return []
        cursor.execute(_MAY_READ)
        if cursor.fetchone() != (True,):
            return []
        cursor.execute(_SEALED)
        return [Sealing(*found) for found in cursor.fetchall()]
