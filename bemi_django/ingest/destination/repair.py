"""Make a row of what is known of a message that cannot be stored as it is, and keep the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.copying import RowCopier, is_taken
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.protocol.cutting import without_values
from bemi_django.ingest.rows.copy_format import NULL, field_or_null
from bemi_django.ingest.rows.jsonb_limits import is_jsonb
from bemi_django.ingest.rows.rendering import NO_ROW, unavailable_field
from bemi_django.ingest.rows.row_layout import RowLayout, head, template
from bemi_django.ingest.rows.row_writer import OPERATION_FIELDS, RowWriter
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stitching.operations import BASELINE, CREATE, DELETE, EVENT, UPDATE
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, read_again
from bemi_django.ingest.stitching.validation import invalid_context
from bemi_django.masking.rules import NOTHING, Rules

#: Tells whether a JSON text may be written.
_Accepts = Callable[[bytes], bool]
#: Bytes of a value that is small enough for any limit of the destination.
_SMALL = 1000


class Repairer:
    """Repairs the rows that ``writer`` makes; it is used in the thread that reads the stream.

    Args:
        writer: Writes the rows.
        database: The name of the source.
        shortages: Counts the failures of all sessions.
        masking: Says which values must not be kept in a letter.
        copier: Writes the rows.
    """

    def __init__(
        self,
        writer: RowWriter,
        database: str,
        shortages: Shortages | None = None,
        masking: Rules = NOTHING,
        copier: RowCopier | None = None,
    ) -> None:
        self._copier = copier or RowCopier()
        self._writer = writer
        self._masking = masking
        self._shortages = shortages or Shortages()
        self._database = database

    def mend(self, change: Stitched, message: bytes) -> tuple[bytes, RejectedMessage]:
        """Return a row without the values that cannot be rendered, and a letter that holds the message.

        Raises:
            Exception: Whatever rendering the other values raises.
        """
        return self._mend(change, message, lambda json: True)

    def outline(self, change: Stitched, message: bytes, reason: str) -> tuple[bytes, RejectedMessage]:
        """Return a row without any value, and a letter that holds the message.

        This uses nothing that depends on the table, its types or the contents of the message.
        """
        columns = [column.name for column in change.relation.columns]
        has_old = change.operation in (UPDATE, DELETE)
        has_new = change.operation in (UPDATE, CREATE, BASELINE)
        unavailable = unavailable_field(columns if has_old else [], columns if has_new else [])
        return self._without_values(change, NULL, unavailable), self.letter(change, message, reason)

    def outline_of(self, refused: Pending) -> tuple[bytes, RejectedMessage]:
        """Return the same of a row whose values are not text."""
        change = refused.change
        if isinstance(change, ChangeHeader):
            change = read_again(change, refused.message)
        safe = change._replace(context=invalid_context(change.context[:_SMALL]))
        row, letter = self.outline(safe, refused.message, "not text")
        return row, letter

    def row_of_event(self, event: Stitched, key: str | None) -> bytes:
        """Return the row of an event.

        Args:
            event: The event.
            key: The key of the row that it happened to.
        """
        return self._without_values(event, field_or_null(None if key is None else key.encode()))

    def write(self, cursor: Any, refused: Pending) -> RejectedMessage:
        """Write what the destination takes of a row that it has refused.

        Args:
            cursor: A cursor of the destination, in the transaction of the rows around this one.
            refused: The row, with its change and message.

        Returns:
            The letter that holds the message.
        """
        change = refused.change
        if isinstance(change, ChangeHeader):
            change = read_again(change, refused.message)
        if change.operation == EVENT:
            return self._write_outline(cursor, change, refused)
        attempts: list[_Accepts] = [is_jsonb, lambda json: len(json) <= _SMALL and is_jsonb(json)]
        for accepts in attempts:
            try:
                row, letter = self._mend(change, refused.message, accepts)
            except Exception as error:
                self._shortages.raise_unless_of_message(error, refused.message)
                continue
            mended = refused._replace(row=row, change=change)
            if is_taken(cursor, lambda: self._copier.copy(cursor, [mended])):  # noqa: B023 - used at once
                return letter
        return self._write_outline(cursor, change, refused)

    def _write_outline(self, cursor: Any, change: Stitched, refused: Pending) -> RejectedMessage:
        safe = change._replace(context=invalid_context(change.context[:_SMALL]))
        row, _ = self.outline(safe, refused.message, "not accepted")
        self._copier.copy(cursor, [refused._replace(row=row, change=safe)])
        return self.letter(change, refused.message, "not accepted")

    def _without_values(self, change: Stitched, key: bytes, unavailable: bytes = NULL) -> bytes:
        layout = RowLayout(head(self._database, *change.relation[1:3]), (), template(()), (), ())
        operation = OPERATION_FIELDS[change.operation]
        return self._writer.assemble(layout, change, operation, NO_ROW, NO_ROW, key, NULL, unavailable)

    def letter(self, change: Stitched, message: bytes, reason: str) -> RejectedMessage:
        """Return the letter of a change that is stored in part."""
        if change.operation == EVENT:
            # It is not one of a row, and cannot be read again.
            kept = dead_letters.of_message(change.begin, message, reason)
            return kept.withheld() if self._masking else kept
        identifier = self._writer.ids.of_change(change)
        letter = dead_letters.of_change(change, identifier, message, reason)
        if not self._masking or change.before is None and change.after is None:
            return letter
        try:
            masked = self._masked(change)
            return letter._replace(message=without_values(message, masked)) if masked else letter
        except Exception as error:
            self._shortages.raise_unless_of_message(error, message)
            # What of it must not be kept is unknown.
            return letter.withheld()

    def _masked(self, change: Stitched) -> set[int]:
        """Return the columns, by index, whose values must not be kept."""
        _, schema, name, columns = change.relation[:4]
        names = self._writer.layout(change).masked
        return {
            number
            for number, column in enumerate(columns)
            if column.name in names or self._masking.is_masked([(schema, name)], column.name, column.type_oid)
        }

    def _mend(self, change: Stitched, message: bytes, accepts: _Accepts) -> tuple[bytes, RejectedMessage]:
        lost, reasons = self._writer.salvage(change, accepts)
        known = change
        if not accepts(change.context):
            reasons.append("context: not accepted as jsonb")
            known = change._replace(context=invalid_context(change.context))
        row = self._writer.row(known, lost)
        return row, self.letter(change, message, "; ".join(reasons) or "not accepted")
