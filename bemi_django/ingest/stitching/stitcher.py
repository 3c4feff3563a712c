"""Give each row the context of its statement.

A context applies to the rows of the tables that messages name for it, until the next context of the
transaction. A name covers the partitions and the INHERITS descendants of the table. A row of a table that was
not named has no context: it was written where no trigger fires, and is not attributed to another statement.

Rows whose context asks for it are skipped: they are only counted, and the counts become changes.
"""

from __future__ import annotations

from collections.abc import Callable, Set

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
from bemi_django.ingest.stitching.context_message import ContextMessage, parse
from bemi_django.ingest.stitching.log_encoding import storable_in
from bemi_django.ingest.stitching.provenance import NO_PROVENANCE, Provenance
from bemi_django.ingest.stitching.skipped import Skipped
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, header_of, stitch
from bemi_django.ingest.stitching.validation import MAX_BYTES, NO_CONTEXT, storable_json
from bemi_django.masking.contexts import ContextMasks
from bemi_django.masking.rules import NOTHING
from bemi_django.wire import MESSAGE_PREFIX, SQL_KEY, STATEMENT

#: Masks nothing.
NO_MASKS = ContextMasks(NOTHING)
#: The prefix of the messages that hold a context.
PREFIX = MESSAGE_PREFIX.encode()
_STATEMENT = STATEMENT.encode()
_SQL = f'"{SQL_KEY}"'.encode()

#: How many tables may be named for a context. The rows of others have none: anybody may name any number.
_MOST_NAMED = 100_000
#: Bytes of a context from which another statement under it is put together when a row has it.
_LARGE = 64 * 1024

#: Returns the tables, by oid, whose message gives a context to the row of a header.
NamedBy = Callable[[ChangeHeader], Set[int]]


class Stitcher:
    """Follows the transactions and contexts of one stream; feed it the messages in their order.

    Args:
        named_by: Returns the tables whose message gives a context to a row.
        log_encoding: The server's name of the encoding of the log's database.
        masks: Masks the contexts.
        is_masked: Tells whether a table, by its oid, has columns that are masked.
        provenance: Adds to contexts what is known of where they come from.
    """

    def __init__(
        self,
        named_by: NamedBy,
        log_encoding: str = "UTF8",
        masks: ContextMasks = NO_MASKS,
        is_masked: Callable[[int], bool] = lambda oid: False,
        provenance: Provenance = NO_PROVENANCE,
    ) -> None:
        self._named_by = named_by
        self._masks = masks
        self._is_masked = is_masked
        self._provenance = provenance
        #: Whether the statement is known to write to a table with masked columns.
        self.is_touching = False
        self._storable = storable_in(log_encoding)
        self._ordinal = 0
        # The trigger's last context, as it came and as it is stored, and the tables that were named for it.
        self._content = self._statement_context = NO_CONTEXT
        self._named: set[int] = set()
        #: Another statement under the last context, which was not put together yet, as it came.
        self.waiting: bytes | None = None
        # What the first message of the transaction said of the connection.
        self._connection = b""
        self._context = NO_CONTEXT
        self._skipped = Skipped()
        #: The beginning of the open transaction.
        self.begin: Begin | None = None
        #: The tables that have the context, by oid; None for all of them.
        self.named: Set[int] | None = None
        #: Whether the rows that have the context are only counted.
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
        if isinstance(message, Begin):
            self.begin, self._ordinal = message, 0
            self._content = self._statement_context = NO_CONTEXT
            self._named = set()
            self._connection, self.waiting = b"", None
            self._enter(NO_CONTEXT, None)
        elif isinstance(message, Commit):
            self.begin = None
            return self._skipped.take()
        elif isinstance(message, (Insert, Update, Delete)):
            self.settle()
            return self._skipped.sift([stitch(self._attributed(message.relation, lsn), message)])
        elif isinstance(message, Truncate):
            self.settle()
            return self._skipped.sift(
                [stitch(self._attributed(relation, lsn), message) for relation in message.relations]
            )
        return []

    def follow(self, content: bytes) -> None:
        """Follow the context of a logical message."""
        message = parse(content)
        self.is_context_invalid = False
        if message is None:
            # Not of the trigger: of somebody who gives all rows that follow a context.
            self.waiting = None
            self.is_touching = _SQL in content
            self._enter(self._validated(content, is_touching=self.is_touching), None)
            return
        self._connection = message.connection or self._connection
        is_masked = self._is_masked(message.table)
        if message.content or message.is_continued:
            self._begin_statement(message, is_masked=is_masked)
        elif is_masked and not self.is_touching:
            self.is_touching = True
            if self.waiting is None:
                self._statement_context = self._storable(
                    self._masks.masked(self._statement_context, is_touching=True)
                )
        if len(self._named) < _MOST_NAMED:
            self._named.add(message.table)
        if self.waiting is None:
            self._enter(self._statement_context, self._named)

    def settle(self) -> None:
        """Put together the context of the last message, if that waited for a row."""
        if self.waiting is not None:
            statement, self.waiting = self.waiting, None
            # Whatever goes wrong, a row must not get the context of the statement before.
            self._statement_context = NO_CONTEXT
            self._enter(NO_CONTEXT, None)
            self._enter_statement(self._content.partition(_STATEMENT)[0] + _STATEMENT + statement)
            self._enter(self._statement_context, self._named)

    def may_hold_masked(self, content: bytes) -> bool:
        """Return whether the message that was followed last may hold what is masked."""
        return self.is_touching or self._masks.may_be_in(content)

    def claim(self, relation: Relation, lsn: int, named_by: Set[int]) -> ChangeHeader:
        """Return the header of the next change.

        Args:
            relation: The table of the row.
            lsn: Where the row lies in the WAL.
            named_by: The tables, by oid, whose message gives a context to the row.

        Raises:
            ProtocolError: If there is no open transaction.
        """
        if self.waiting is not None and named_by:
            self.settle()
        if self.begin is None:
            raise ProtocolError(f"a row of {relation.schema}.{relation.name} outside a transaction")
        is_named = self.named is None or not self.named.isdisjoint(named_by)
        context = self._context if is_named else NO_CONTEXT
        # This is called for each row.
        ordinal = self._ordinal
        self._ordinal = ordinal + 1
        return header_of((self.begin, ordinal, relation, context, lsn))

    def pass_over(self) -> int:
        """Count an event of the open transaction, and return its number in it."""
        self._ordinal += 1
        return self._ordinal - 1

    def _attributed(self, relation: Relation, lsn: int) -> ChangeHeader:
        header = self.claim(relation, lsn, frozenset())
        if self.named is None or self.named.isdisjoint(self._named_by(header)):
            return header
        return header._replace(context=self._context)

    def _begin_statement(self, message: ContextMessage, *, is_masked: bool) -> None:
        self.is_touching, self._named, self.waiting = is_masked, set(), None
        if not message.is_continued:
            self._enter_statement(message.content)
        elif len(self._content) > _LARGE:
            # Many short messages may go on with a long context, and have no rows.
            self.waiting = message.content
        else:
            # Another statement under the context of the message before.
            self._enter_statement(self._content.partition(_STATEMENT)[0] + _STATEMENT + message.content)

    def _enter_statement(self, content: bytes) -> None:
        self._content = content if len(content) <= MAX_BYTES else b""
        self._statement_context = self._validated(content, is_touching=self.is_touching)

    def _validated(self, content: bytes, *, is_touching: bool) -> bytes:
        committed_at = self.begin.committed_at if self.begin else 0
        content, is_signed = self._provenance.signatures.parted(content, committed_at)
        context = storable_json(content)
        self.is_context_invalid = context is not content
        context = self._provenance.added(context, self._connection, is_signed=is_signed)
        return self._storable(self._masks.masked(context, is_touching=is_touching))

    def _enter(self, context: bytes, named: Set[int] | None) -> None:
        self._context, self.named = context, named
        self.is_skipping = self._skipped.follow(context)
