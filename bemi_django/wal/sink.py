"""Where changes go: ``changes`` and the checkpoint, in one transaction of the destination."""

from __future__ import annotations

import io
from typing import Any

from bemi_django.wal import rows

_COPY = "COPY changes ({}) FROM STDIN (FORMAT binary)".format(", ".join(f'"{name}"' for name in rows.COLUMNS))
_CHECKPOINT = """
INSERT INTO _bemi_checkpoint (slot, lsn) VALUES (%s, %s::pg_lsn)
ON CONFLICT (slot) DO UPDATE SET lsn = excluded.lsn, updated_at = clock_timestamp()
"""


class Sink:
    """Buffers rows and sends them by COPY, ``limit`` bytes at a time.

    Rows of the open transaction wait apart: those before it can be made durable at any moment. A
    transaction larger than ``limit`` is copied as it comes, after what came before it is durable.
    """

    def __init__(self, connection: Any, slot: str, limit: int = 4 * 1024 * 1024) -> None:
        self._connection = connection
        self._slot = slot
        self._limit = limit
        self._open: list[bytes] = []
        self._open_size = 0
        self._ready: list[bytes] = []
        self._copied = 0
        #: End LSN of the last transaction that is complete and not durable; 0 when there is none.
        self.pending_lsn = 0
        self.pending_bytes = 0

    def checkpoint(self) -> int:
        """End LSN of the last transaction that was written, 0 when there is none."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SELECT lsn - '0/0' FROM _bemi_checkpoint WHERE slot = %s", [self._slot])
            found = cursor.fetchone()
        return int(found[0]) if found else 0

    def add(self, row: bytes) -> None:
        """Take one row of the open transaction."""
        self._open.append(row)
        self._open_size += len(row)
        if self._open_size >= self._limit:
            self.flush()
            self._copy(self._open)
            self._open, self._open_size = [], 0

    def end(self, lsn: int) -> None:
        """The open transaction is complete; ``lsn`` is its end."""
        self._ready += self._open
        self.pending_bytes += self._open_size
        self.pending_lsn = lsn
        self._open, self._open_size = [], 0

    @property
    def is_full(self) -> bool:
        return self.pending_bytes >= self._limit

    def flush(self) -> int:
        """Make complete transactions durable together with the checkpoint; return how many rows."""
        if not self.pending_lsn:
            return 0
        self._copy(self._ready)
        lsn = f"{self.pending_lsn >> 32:X}/{self.pending_lsn & 0xFFFFFFFF:X}"
        with self._connection.cursor() as cursor:
            cursor.execute(_CHECKPOINT, [self._slot, lsn])
        self._connection.commit()
        written = self._copied
        self._ready, self._copied = [], 0
        self.pending_lsn = self.pending_bytes = 0
        return written

    def _copy(self, batch: list[bytes]) -> None:
        if not batch:
            return
        data = io.BytesIO(b"".join((rows.HEADER, *batch, rows.TRAILER)))
        with self._connection.cursor() as cursor:
            cursor.copy_expert(_COPY, data)
        self._copied += len(batch)
