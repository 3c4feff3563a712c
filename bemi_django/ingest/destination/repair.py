"""Make a row of what is known of a message that cannot be stored as it is, and keep the message."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import psycopg2

from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.copying import copy_rows, is_taken
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, read_again
from bemi_django.ingest.stitching.validation import invalid_context

logger = logging.getLogger(__name__)

#: Tells whether the destination takes a JSON text as jsonb.
_Accepts = Callable[[bytes], bool]


class Repairer:
    """Repairs the rows that ``writer`` makes; it is used in the thread that reads the stream."""

    def __init__(self, writer: RowWriter) -> None:
        self._writer = writer

    def mend(self, change: Stitched, message: bytes) -> tuple[bytes, RejectedMessage]:
        """Return a row without the values that cannot be rendered, and a letter that holds the message."""
        return self._mend(change, message, lambda json: True)

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
        row, letter = self._mend(change, refused.message, lambda json: _is_jsonb(cursor, json))
        if not is_taken(cursor, lambda: copy_rows(cursor, [row])):
            # No value and no context: only that there was a change.
            row, letter = self._mend(change, refused.message, lambda json: False)
            copy_rows(cursor, [row])
        return letter

    def letter(self, change: Stitched, message: bytes, reason: str) -> RejectedMessage:
        """Return the letter of a change that is stored in part."""
        identifier = self._writer.change_id(change)
        return dead_letters.of_change(change, identifier, message, reason)

    def _mend(self, change: Stitched, message: bytes, accepts: _Accepts) -> tuple[bytes, RejectedMessage]:
        lost, reasons = self._writer.salvage(change, accepts)
        known = change
        if not accepts(change.context):
            reasons.append("context: not accepted as jsonb")
            known = change._replace(context=invalid_context(change.context))
        logger.error("a change cannot be stored as it is: its message is kept in _bemi.dead_letters")
        letter = self.letter(change, message, "; ".join(reasons) or "not accepted")
        return self._writer.row(known, lost), letter


def _is_jsonb(cursor: Any, json: bytes) -> bool:
    # As bytes: the server must refuse a text that is not UTF-8, not the driver.
    parse = "SELECT convert_from(%s, 'UTF8')::jsonb IS NULL"
    return is_taken(cursor, lambda: cursor.execute(parse, [psycopg2.Binary(json)]))
