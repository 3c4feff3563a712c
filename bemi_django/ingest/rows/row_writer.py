"""Write a stitched change as a row of ``changes``: fields that binary COPY takes, without their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from bemi_django.ingest.protocol.messages import Begin, Relation
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.copy_format import (
    ID_SIZE,
    INT64_SIZE,
    JSONB_VERSION,
    NULL,
    PACK_ID,
    PACK_INT64,
    PACK_JSONB,
    field,
    int64,
    jsonb,
)
from bemi_django.ingest.rows.large_rows import LARGE, LargeCopyRow
from bemi_django.ingest.rows.rendering import (
    NOTHING,
    Json,
    Lost,
    complete,
    failing_columns,
    json_object,
    key_field,
    unavailable_of,
)
from bemi_django.ingest.rows.row_layout import RowLayout
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.ingest.stitching.operations import ALL, BASELINE, CREATE, DELETE, UPDATE
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched
from bemi_django.ingest.stitching.validation import NO_CONTEXT
from bemi_django.wire.ids import ORDINAL_SHIFT, halves_of_id

COLUMNS = (
    "id",
    "database",
    "schema",
    "table",
    "primary_key",
    "operation",
    "before",
    "after",
    "context",
    "committed_at",
    "queued_at",
    "transaction_id",
    "position",
    "previous_primary_key",
    "partition",
    "unavailable",
)

#: Each operation as a field of COPY.
OPERATION_FIELDS = {operation: field(operation.encode()) for operation in ALL}
#: Seconds from 1970 to 2000, where PostgreSQL's timestamps start.
EPOCH_SECONDS = 946_684_800
_EPOCH = EPOCH_SECONDS * 1_000_000
_OF_ROWS = (CREATE, UPDATE, DELETE, BASELINE)
#: Stands for the row of a change that is not recorded.
OMITTED = b""


class RowWriter:
    """Writes the changes of one source.

    Args:
        ids: Numbers the changes of the source.
        layouts: Returns the layouts by which a change may be written, the most likely first.
    """

    def __init__(
        self,
        ids: ChangeIds,
        layouts: Callable[[ChangeHeader | Stitched], Iterator[RowLayout]],
    ) -> None:
        self.ids = ids
        self._layouts_of = layouts
        #: By the table's oid: the relation as the stream described it, and its layout.
        self.known: dict[int, tuple[Relation, RowLayout]] = {}
        #: What was left out of the open transaction, and whether masked columns are: as_of() asks for them.
        self.omissions, self.notes_masks = Omissions(), False
        self._begin: Begin | None = None
        self._sequence = self._id_high = self._id_low = 0
        self._committed_at = self._transaction = b""
        self._context, self._context_field = NO_CONTEXT, jsonb(NO_CONTEXT)
        self.render_context: Callable[[bytes], bytes] = bytes  #: Renders a context for the log.

    def row(self, change: Stitched, lost: Lost | None = None) -> bytes:
        """Return the change as a row of COPY, or :data:`OMITTED` if it is not recorded.

        Args:
            change: The change.
            lost: The values to leave out of one that is written again, which is recorded in any case; None
                for one that was just read.

        Raises:
            ValueError: If a value is not one of its type.
            LookupError: If the type of a value no longer exists.
        """
        return self._row(self.layout(change), change, lost)

    def row_of_another_layout(self, change: Stitched) -> bytes:
        """Return the change as a row by any layout that fits, which the rows that follow use, too.

        Raises:
            ValueError: If no layout fits.
            LookupError: If no layout fits, or none is known.
        """
        failure: Exception = LookupError("nothing is known of the table")
        for layout in self._layouts_of(change):
            try:
                row = self._row(layout, change, None)
            except (ValueError, LookupError) as error:
                # Its traceback would hold a large value.
                failure = error.with_traceback(None)
            else:
                self.known[change.relation.oid] = change.relation, layout
                return row
        raise failure

    def _row(self, layout: RowLayout, change: Stitched, again: Lost | None) -> bytes:
        lost = again or NOTHING
        old, new = complete(layout, change.before), complete(layout, change.after)
        before, no_before = json_object(layout, old, lost.before)
        after, no_after = json_object(layout, new, lost.after)
        key = key_field(layout, new, lost.after) if new else key_field(layout, old, lost.before)
        old_key = key_field(layout, old, lost.before) if new else NULL
        is_of_row = change.operation in _OF_ROWS
        selection = layout.selection if is_of_row else None
        if selection is not None and selection.omits(
            bytes(before),
            bytes(after),
            is_update=change.operation == UPDATE and not no_before and not no_after,
            is_unchanged=lambda: old == new,
            is_masked_changed=lambda: layout.differs_in_masked(old, new),
            is_new=again is None,
            omissions=self.omissions,
            sequence=self.sequence_of(change.begin),
        ):
            return OMITTED
        changed = layout.unseen_changes(old, new)
        unavailable = unavailable_of(layout, no_before, no_after, changed) if is_of_row else NULL
        return self.assemble(
            layout, change, OPERATION_FIELDS[change.operation], before, after, key, old_key, unavailable
        )

    def assemble(
        self,
        layout: RowLayout,
        header: ChangeHeader | Stitched,
        operation: bytes,
        before: Json,
        after: Json,
        key: bytes,
        old_key: bytes,
        unavailable: bytes | None = None,
    ) -> bytes:
        """Return a row of COPY.

        Args:
            layout: How rows of the table are written.
            header: What is known of the change without its values.
            operation: A field of :data:`OPERATION_FIELDS`.
            before: The old row as JSON text.
            after: The new row as JSON text.
            key: The field of the primary key.
            old_key: The field of the key before the change; if it equals ``key``, it is not repeated.
            unavailable: The field that names columns without a value, if it is not the layout's.
        """
        begin, context = header.begin, header.context
        if begin is not self._begin:
            self.sequence_of(begin)
        if context is not self._context:
            self._context, self._context_field = context, jsonb(self.render_context(context))
        if layout.masked and self.notes_masks:
            self.omissions.columns[(*layout.root, layout.masked)] = self._sequence
        parts: tuple[Any, ...] = (
            PACK_ID(ID_SIZE, self._id_high, self._id_low | header.ordinal << ORDINAL_SHIFT),
            layout.head,
            key,
            operation,
            PACK_JSONB(len(before) + 1, JSONB_VERSION),
            before,
            PACK_JSONB(len(after) + 1, JSONB_VERSION),
            after,
            self._context_field,
            self._committed_at,
            PACK_INT64(INT64_SIZE, time.time_ns() // 1000 - _EPOCH),
            self._transaction,
            old_key if old_key != key else NULL,
            layout.partition,
            layout.unavailable if unavailable is None else unavailable,
        )
        if isinstance(before, bytes) and isinstance(after, bytes):
            return b"".join(parts)
        rows = (jsonb(row) if isinstance(row, bytes) else row for row in (before, after))
        row = LargeCopyRow(b"".join(parts[:4]), rows, b"".join(parts[8:]))
        # It stands for the bytes wherever rows are handed on.
        return cast(bytes, row) if len(row) > LARGE else bytes(row)

    def sequence_of(self, begin: Begin) -> int:
        """Return the sequence number of a transaction's changes."""
        if begin is not self._begin:
            self._sequence = self.ids.sequence_of(begin)
            self._id_high, self._id_low = halves_of_id(self._sequence, self.ids.source)
            self._committed_at = int64(begin.committed_at)
            self._transaction = int64(self.ids.full_xid(begin.xid)) + int64(begin.commit_lsn)
            # Last: a position may be out of range.
            self._begin = begin
        return self._sequence

    def salvage(self, change: Stitched, accepts: Callable[[bytes], bool]) -> tuple[Lost, list[str]]:
        """Find the values that cannot be rendered, or that the destination does not accept.

        Args:
            change: The change whose row was refused.
            accepts: Tells whether the destination takes a JSON text as jsonb.

        Returns:
            The columns that are lost, and the reason for each in words.
        """
        layout = self.layout(change)
        reasons: list[str] = []
        old, new = complete(layout, change.before), complete(layout, change.after)
        before = frozenset(failing_columns(layout, old, accepts, "before", reasons))
        after = frozenset(failing_columns(layout, new, accepts, "after", reasons))
        return Lost(before, after), reasons

    def named_by(self, header: ChangeHeader) -> frozenset[int]:
        """Return the tables, by oid, whose message gives a context to a row."""
        return self.layout(header).named_by

    def layout(self, change: ChangeHeader | Stitched) -> RowLayout:
        """Return the layout by which the change is most likely written."""
        relation, lsn = change.relation, change.lsn or change.begin.commit_lsn
        known = self.known.get(relation.oid)
        if known is None or known[0] is not relation or not known[1].since <= lsn < known[1].until:
            known = self.known[relation.oid] = relation, next(self._layouts_of(change))
        return known[1]

    def forget(self) -> None:
        """Forget all layouts, because there was DDL."""
        self.known.clear()
