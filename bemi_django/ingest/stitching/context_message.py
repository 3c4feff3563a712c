"""The content of the messages that the capture trigger writes.

======================  =====================================================================================
``16384{"user": ...}``  A statement's context, for the rows of the table with this oid.
``16384+"UPDATE ..."}``  Another statement under the same context: only what follows ``,"SQL": ``.
``16384``               The same statement also writes to this table.
======================  =====================================================================================

The first message of a transaction begins with what the database knows of the connection, which
:mod:`~bemi_django.ingest.stitching.provenance` reads: ``'app' 'app'4711 10.0.0.1 'gunicorn'16384{...``.

Anybody may write a message. One without a table gives its context to all rows that follow.
"""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.ingest.stitching.provenance import parted
from bemi_django.wire import CONTINUED

_DIGITS = b"0123456789"
#: Digits of an oid.
_MAX_DIGITS = 10
_CONTINUED = CONTINUED.encode()


class ContextMessage(NamedTuple):
    """The table that a message names, and the new context, empty if it is the last one.

    ``connection`` is what the message says of the connection, empty for all but the first one.
    """

    table: int
    content: bytes
    is_continued: bool
    connection: bytes = b""


def parse(content: bytes) -> ContextMessage | None:
    """Return what a message of the trigger says, or None for one that names no table."""
    connection, content = parted(content)
    rest = content.lstrip(_DIGITS)
    digits = len(content) - len(rest)
    if not 0 < digits <= _MAX_DIGITS:
        return None
    table = int(content[:digits])
    if rest[:1] == _CONTINUED:
        return ContextMessage(table, rest[1:], True, connection)
    return ContextMessage(table, rest, False, connection)
