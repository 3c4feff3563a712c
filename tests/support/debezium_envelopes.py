"""Records as Debezium makes them, by hand."""

from __future__ import annotations

import base64
import json
from typing import Any

#: A commit time, in microseconds since 1970.
_TIME = 1_795_927_042_000_000


class Envelopes:
    """Makes the records of one transaction.

    Args:
        xid: Its number.
        previous: Where the transaction before it has ended; None if that is not known.
        database: The name of the source.
        lsn: Where the first event lies.
    """

    def __init__(
        self, xid: int = 700, previous: int | None = 1000, database: str = "debezium", lsn: int = 0
    ) -> None:
        self.xid, self.previous, self.database = xid, previous, database
        self.lsn = lsn or (previous or 1000) + 100

    def source(self, table: str = "", step: int = 8, **others: Any) -> dict[str, Any]:
        """Return the source of the next event."""
        self.lsn += step
        sequence = [None if self.previous is None else str(self.previous), str(self.lsn)]
        return {
            "connector": "postgresql",
            "db": self.database,
            "schema": "public" if table else "",
            "table": table,
            "txId": self.xid,
            "lsn": self.lsn,
            "sequence": json.dumps(sequence),
            "ts_us": _TIME + self.xid,
            "ts_ms": (_TIME + self.xid) // 1000,
            "snapshot": "false",
            **others,
        }

    def change(self, op: str, table: str, before: Any = None, after: Any = None, **others: Any) -> bytes:
        """Return an event of a row."""
        return _line({"op": op, "before": before, "after": after, "source": self.source(table, **others)})

    def message(self, content: bytes | str, prefix: str = "_bemi", **others: Any) -> bytes:
        """Return a logical message."""
        encoded = content if isinstance(content, str) else base64.b64encode(content).decode()
        return _line(
            {"op": "m", "source": self.source(**others), "message": {"prefix": prefix, "content": encoded}}
        )

    def end(self) -> bytes:
        """Return the end of the transaction."""
        return _line({"status": "END", "id": f"{self.xid}:{self.lsn + 40}", "event_count": 1, "ts_ms": 1})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps({"key": None, "value": value}).encode()
