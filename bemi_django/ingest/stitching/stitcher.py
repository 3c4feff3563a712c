"""Give each row the context of its statement: a message holds until the next one of the transaction.

Rows whose context asks for it are skipped: they are only counted, and the counts become changes.
"""

from __future__ import annotations

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.messages import (
    Begin,
    Commit,
    Decoded,
    Delete,
    Insert,
    Relation,
    Truncate,
    Update,
)
from bemi_django.ingest.stitching.skipped import Skipped
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, stitch
from bemi_django.ingest.stitching.validation import MAX_BYTES, NO_CONTEXT, storable_json
from bemi_django.wire import CONTINUED, MESSAGE_PREFIX, STATEMENT

#: The prefix of the messages that hold a context.
PREFIX = MESSAGE_PREFIX.encode()
_CONTINUED = CONTINUED.encode()
_STATEMENT = STATEMENT.encode()


class Stitcher:
    """Follows the transactions and contexts of one stream; feed it the messages in their order."""

    def __init__(self) -> None:
        self._ordinal = 0
        self._content = self._context = NO_CONTEXT
        self._skipped = Skipped()
        #: The beginning of the open transaction.
        self.begin: Begin | None = None
        #: Whether the rows that follow are only counted.
        self.is_skipping = False
        #: Whether the last context could not be stored as it came.
        self.is_context_invalid = False

    def feed(self, message: Decoded, lsn: int = 0) -> list[Stitched]:
        """Return the changes that a message makes; contexts are followed by :meth:`follow`.

        Args:
            message: The decoded message.
            lsn: Where it lies in the WAL.

        Returns:
            None, one, or for TRUNCATE one for each table. Commit makes one for each table whose rows were
            skipped.

        Raises:
            ProtocolError: If a row stands outside a transaction.
        """
        if isinstance(message, (Insert, Update, Delete)):
            return self._skipped.sift([stitch(self.claim(message.relation, lsn), message)])
        if isinstance(message, Begin):
            self.begin, self._ordinal = message, 0
            self._content = NO_CONTEXT
            self._enter(NO_CONTEXT)
        elif isinstance(message, Commit):
            self.begin = None
            return self._skipped.take()
        elif isinstance(message, Truncate):
            return self._skipped.sift(
                [stitch(self.claim(relation, lsn), message) for relation in message.relations]
            )
        return []

    def follow(self, content: bytes) -> None:
        """Give the rows that follow the context of a logical message."""
        if content.startswith(_CONTINUED):
            # Another statement under the context of the message before.
            content = self._content.partition(_STATEMENT)[0] + _STATEMENT + content[1:]
        context = storable_json(content)
        self.is_context_invalid = context is not content
        self._content = content if len(content) <= MAX_BYTES else b""
        self._enter(context)

    def claim(self, relation: Relation, lsn: int) -> ChangeHeader:
        """Return the header of the next change.

        Raises:
            ProtocolError: If there is no open transaction.
        """
        if self.begin is None:
            raise ProtocolError(f"a row of {relation.schema}.{relation.name} outside a transaction")
        header = ChangeHeader(self.begin, self._ordinal, relation, self._context, lsn)
        self._ordinal += 1
        return header

    def _enter(self, context: bytes) -> None:
        self._context = context
        self.is_skipping = self._skipped.follow(context)
