"""Row messages straight to rows of COPY: the usual ones, by a function that is made for each table.

What needs care takes the long way, through decoder, stitcher and :meth:`RowWriter.row`, which writes the same
bytes: values that were not sent, rows that are not recorded, a key of many columns, columns that the stream
leaves out, and whatever is wrong. A context goes straight to the stitcher.
"""

from __future__ import annotations

from collections import Counter
from struct import error as StructError

from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.rows.copy_format import NULL, field
from bemi_django.ingest.rows.row_codegen import PADDING, RowReader
from bemi_django.ingest.rows.row_writer import NO_ROW, OPERATIONS, RowWriter
from bemi_django.ingest.rows.stitcher import PREFIX, ChangeHeader, Stitcher

#: Operation, before, after, key and previous key.
Effect = tuple[bytes, bytes, bytes, bytes, bytes]

# Of a logical message: behind its kind, flags and LSN, and in front of the length of its content.
_OUR_PREFIX = PREFIX + b"\0"
_PREFIX_AT = 10
_LENGTH_AT = _PREFIX_AT + len(_OUR_PREFIX)
_CONTENT_AT = _LENGTH_AT + 4

_CREATE, _UPDATE, _DELETE = (OPERATIONS[operation] for operation in ("CREATE", "UPDATE", "DELETE"))


class FastPath:
    """Takes rows and contexts of a stream whose other messages decoder and stitcher are fed."""

    def __init__(
        self, decoder: Decoder, stitcher: Stitcher, writer: RowWriter, counts: Counter[str] | None = None
    ) -> None:
        self._relations = decoder.relations
        self._stitcher = stitcher
        self._writer = writer
        #: How many rows had to go the long way, by reason.
        self.counts: Counter[str] = Counter() if counts is None else counts

    def follow(self, data: bytes) -> bool:
        """Whether the logical message is a context; the rows that come are given it."""
        if data[_PREFIX_AT:_LENGTH_AT] != _OUR_PREFIX:
            return False
        if len(data) - _CONTENT_AT != int.from_bytes(data[_LENGTH_AT:_CONTENT_AT], "big"):
            return False
        self._stitcher.follow(data[_CONTENT_AT:])
        return True

    def take(self, data: bytes, lsn: int) -> tuple[bytes, ChangeHeader] | None:
        """Return the change of the message at ``lsn`` as COPY takes it, None when it must go the long way."""
        stitcher = self._stitcher
        oid = int.from_bytes(data[1:5], "big")
        known = self._writer.known.get(oid)
        if known is None:
            return self._give_way("first of a table")
        if stitcher.begin is None:
            return self._give_way("outside a transaction")
        if stitcher.is_skipping:
            return self._give_way("skipped")
        relation, layout = known
        if layout.reader is None:
            return self._give_way("computed column or key of several columns")
        if not layout.since <= lsn < layout.until or relation is not self._relations.get(oid):
            return self._give_way("altered table")
        try:
            effect = _effect(data, layout.reader)
        except (ValueError, LookupError, StructError):
            return self._give_way("unreadable value")
        if effect is None:
            return self._give_way("value not sent")
        place = stitcher.claim(relation, lsn)
        return self._writer.assemble(layout, place, *effect), place

    def _give_way(self, reason: str) -> tuple[bytes, ChangeHeader] | None:
        self.counts[f"rows the long way ({reason})"] += 1
        return None


def _effect(data: bytes, reader: RowReader) -> Effect | None:
    padded = data + PADDING
    read = reader(padded, 6)
    if read is None:
        return None
    end, json, key = read
    kind = data[:1]
    if kind == b"I":
        effect = _CREATE, NO_ROW, json, _key(key), NULL
    elif data[5:6] != b"O":
        # Not all of the old row.
        return None
    elif kind == b"D":
        effect = _DELETE, json, NO_ROW, _key(key), NULL
    else:
        read = reader(padded, end + 1)
        if read is None:
            return None
        end, new_json, new_key = read
        effect = _UPDATE, json, new_json, _key(new_key), NULL if key == new_key else _key(key)
    return effect if end == len(data) else None


def _key(value: bytes | None) -> bytes:
    return NULL if value is None else field(value)
