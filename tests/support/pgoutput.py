"""Messages of pgoutput, built by hand (PostgreSQL docs, "Logical Replication Message Formats")."""

from __future__ import annotations

import struct

from bemi_django.ingest.protocol.messages import UNAVAILABLE, Relation, Row


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def relation(table: Relation, schema: str) -> bytes:
    head = b"R" + struct.pack(">I", table.oid) + text(schema) + text(table.name)
    columns = [
        struct.pack(">B", column.in_identity) + text(column.name) + struct.pack(">Ii", column.type_oid, -1)
        for column in table.columns
    ]
    return head + b"f" + struct.pack(">h", len(columns)) + b"".join(columns)


def values(row: Row) -> bytes:
    parts = [struct.pack(">h", len(row))]
    for value in row:
        if value is None:
            parts.append(b"n")
        elif value is UNAVAILABLE:
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack(">I", len(value)) + value)
    return b"".join(parts)


def change(kind: bytes, oid: int, *rows: tuple[bytes, Row]) -> bytes:
    return kind + struct.pack(">I", oid) + b"".join(mark + values(row) for mark, row in rows)


def message(prefix: str, content: bytes) -> bytes:
    return b"M" + struct.pack(">BQ", 1, 99) + text(prefix) + struct.pack(">I", len(content)) + content
