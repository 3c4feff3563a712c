"""Turn most row messages into rows of COPY directly, by a function that is generated for each table.

Other rows take the long path through the decoder, the stitcher and :meth:`RowWriter.row`, which writes the
same bytes: rows with values that were not sent, rows that are not recorded, tables with a key of several
columns or with columns that the stream omits, and everything malformed. Contexts go to the stitcher directly.
"""

from __future__ import annotations

from collections import Counter
from struct import error as StructError

from bemi_django.ingest.progress import LONG_WAY
from bemi_django.ingest.protocol.byte_layout import OLD_ROW, PADDING, ROW_AT, ROW_HEAD, logical_content
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Row, Update
from bemi_django.ingest.rows.copy_format import NULL, field, field_or_null
from bemi_django.ingest.rows.rendering import NO_ROW, unavailable_of
from bemi_django.ingest.rows.row_codegen import RowReader
from bemi_django.ingest.rows.row_writer import OMITTED, OPERATION_FIELDS, RowWriter
from bemi_django.ingest.stitching.operations import CREATE, DELETE, UPDATE
from bemi_django.ingest.stitching.stitched import ChangeHeader
from bemi_django.ingest.stitching.stitcher import PREFIX, Stitcher

#: The operation, the rows before and after, the key and the previous key, and whether values that are
#: compared only differ.
Effect = tuple[bytes, bytes, bytes, bytes, bytes, bool]

_CONTEXT_PREFIX = PREFIX + b"\0"
_HEAD = ROW_HEAD.unpack_from
_CREATE, _UPDATE, _DELETE = (OPERATION_FIELDS[operation] for operation in (CREATE, UPDATE, DELETE))


class FastPath:
    """Takes rows and contexts of a stream; the decoder and the stitcher must be fed its other messages.

    Args:
        decoder: The decoder of the stream.
        stitcher: The stitcher of the stream.
        writer: Writes the rows.
        counts: Where to count the rows that take the long path, by reason.
    """

    def __init__(
        self, decoder: Decoder, stitcher: Stitcher, writer: RowWriter, counts: Counter[str] | None = None
    ) -> None:
        self._relations = decoder.relations
        self._decode = decoder.decode
        self._stitcher = stitcher
        self._writer = writer
        self.counts: Counter[str] = Counter() if counts is None else counts

    def follow(self, data: bytes) -> bool:
        """Give the rows that follow the context of a logical message; return False if it holds none."""
        content = logical_content(data, _CONTEXT_PREFIX)
        if content is None:
            return False
        self._stitcher.follow(content)
        return True

    def take(self, data: bytes, lsn: int) -> tuple[bytes, ChangeHeader] | None:
        """Return a row message as a row of COPY, with its header.

        Args:
            data: The message.
            lsn: Where the row lies in the WAL.

        Returns:
            The row and its header, or None if the message must take the long path. The row of a change that
            is not recorded is :data:`OMITTED`.
        """
        stitcher, writer = self._stitcher, self._writer
        try:
            kind, oid, mark = _HEAD(data)
        except StructError:
            return self._give_way("unreadable value")
        known = writer.known.get(oid)
        if known is None:
            return self._give_way("first of a table")
        if stitcher.begin is None:
            return self._give_way("outside a transaction")
        if stitcher.waiting is not None:
            stitcher.settle()
        if stitcher.is_skipping:
            return self._give_way("skipped")
        relation, layout = known
        if layout.reader is None:
            return self._give_way("computed column or key of several columns")
        if not layout.since <= lsn < layout.until or relation is not self._relations.get(oid):
            return self._give_way("altered table")
        try:
            effect = _effect(kind, mark, data, layout.reader)
        except (ValueError, LookupError, StructError):
            return self._give_way("unreadable value")
        if effect is None:
            return self._give_way("value not sent")
        operation, before, after, key, old_key, is_unseen = effect
        header = stitcher.claim(relation, lsn, layout.named_by)
        if layout.selection is not None and layout.selection.omits(
            before,
            after,
            is_update=operation is _UPDATE,
            is_unchanged=lambda: _is_unchanged(data),
            is_masked_changed=lambda: layout.differs_in_masked(*self._rows(data)),
            omissions=writer.omissions,
            sequence=writer.sequence_of(header.begin),
        ):
            return OMITTED, header
        unavailable = None
        if is_unseen:
            changed = layout.unseen_changes(*self._rows(data))
            unavailable = unavailable_of(layout, (), (), changed)
        return writer.assemble(layout, header, operation, before, after, key, old_key, unavailable), header

    def _rows(self, data: bytes) -> tuple[Row | None, Row | None]:
        message = self._decode(data)
        return (message.before, message.after) if isinstance(message, Update) else (None, None)

    def _give_way(self, reason: str) -> tuple[bytes, ChangeHeader] | None:
        self.counts[f"{LONG_WAY} ({reason})"] += 1
        return None


def _effect(kind: bytes, mark: bytes, data: bytes, read: RowReader) -> Effect | None:
    padded = data + PADDING
    row = read(padded, ROW_AT)
    if row is None:
        return None
    end, json, key, unseen = row
    effect: Effect
    if kind == b"I":
        effect = _CREATE, NO_ROW, json, NULL if key is None else field(key), NULL, False
    elif mark != OLD_ROW:
        # The old row is not complete.
        return None
    elif kind == b"D":
        effect = _DELETE, json, NO_ROW, NULL if key is None else field(key), NULL, False
    else:
        # The mark of the new row stands in between.
        row = read(padded, end + 1)
        if row is None:
            return None
        end, new_json, new_key, new_unseen = row
        new_field = field_or_null(new_key)
        old_field = new_field if key == new_key else field_or_null(key)
        effect = _UPDATE, json, new_json, new_field, old_field, unseen != new_unseen
    return effect if end == len(data) else None


def _is_unchanged(data: bytes) -> bool:
    """Return whether both rows of an UPDATE that was read have the same bytes."""
    # One mark stands between them.
    middle, odd = divmod(len(data) - ROW_AT - 1, 2)
    return not odd and data[ROW_AT : ROW_AT + middle] == data[ROW_AT + middle + 1 :]
