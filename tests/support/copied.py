"""A reader of rows in the binary format of COPY (PostgreSQL docs, COPY, "Binary Format")."""

from __future__ import annotations

import struct

from bemi_django.ingest.rows.row_writer import COLUMNS


def read(row: bytes) -> dict[str, bytes | None]:
    offset, fields = 0, []
    while offset < len(row):
        (length,) = struct.unpack_from(">i", row, offset)
        offset += 4
        fields.append(row[offset : offset + length] if length >= 0 else None)
        offset += max(length, 0)
    assert offset == len(row)
    return dict(zip(COLUMNS, fields, strict=True))
