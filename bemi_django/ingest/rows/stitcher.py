"""Give every row the context of its statement: a message holds until the next one of the transaction.

Rows under a context that says so are skipped: they are counted, and the counts become changes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import NamedTuple

import orjson

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import (
    Begin,
    Commit,
    Decoded,
    Delete,
    Insert,
    Message,
    Relation,
    Row,
    Truncate,
    Update,
)
from bemi_django.wire import CONTINUED, INVALID_KEY, MESSAGE_PREFIX, SKIP_KEY, SQL_KEY, STATEMENT

#: Of the messages that hold a context.
PREFIX = MESSAGE_PREFIX.encode()
_CONTINUED = CONTINUED.encode()
_STATEMENT = STATEMENT.encode()
#: The context of a statement that says nothing of its own.
NO_CONTEXT = b"{}"
# Behind an even number of backslashes, else the backslash of \u is one of the text.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000").search
_SKIP = f'"{SKIP_KEY}"'.encode()
_ROWS = (Insert, Update, Delete)


class ChangeHeader(NamedTuple):
    """Where a row message stands: with the message itself, all that its change is made of.

    ``ordinal`` counts the changes of the transaction from 0, ``context`` is JSON text, ``lsn`` is where the
    row lies in the WAL, 0 when that is not known.
    """

    begin: Begin
    ordinal: int
    relation: Relation
    context: bytes
    lsn: int


class Stitched(NamedTuple):
    """One change in its :class:`ChangeHeader`, with the values of its rows."""

    begin: Begin
    ordinal: int
    relation: Relation
    operation: str
    before: Row | None
    after: Row | None
    context: bytes
    lsn: int = 0


class Stitcher:
    """Feed it the messages of a stream in order."""

    def __init__(self) -> None:
        self._ordinal = 0
        self._content = self._context = NO_CONTEXT
        self._skipped = Skipped()
        #: The beginning of the open transaction.
        self.begin: Begin | None = None
        #: Whether the rows that come are only to be counted.
        self.is_skipping = False
        #: Whether the context is one that jsonb does not take as it came.
        self.is_context_invalid = False

    def feed(self, message: Decoded, lsn: int = 0) -> list[Stitched]:
        """Return the changes that the message at ``lsn`` makes: none, one, or one a table for TRUNCATE.

        Commit makes one for each table whose rows were skipped. Raises ProtocolError for a row outside
        a transaction.
        """
        if isinstance(message, Message):
            if message.prefix == PREFIX:
                self.follow(message.content)
        elif isinstance(message, _ROWS):
            return self._skipped.sift([_change(self.claim(message.relation, lsn), message)])
        elif isinstance(message, Begin):
            self.begin, self._ordinal = message, 0
            self._content = NO_CONTEXT
            self._enter(NO_CONTEXT)
        elif isinstance(message, Commit):
            self.begin = None
            return self._skipped.take()
        elif isinstance(message, Truncate):
            return self._skipped.sift(
                [_change(self.claim(relation, lsn), message) for relation in message.relations]
            )
        return []

    def follow(self, content: bytes) -> None:
        """Give the rows that come the context of a message."""
        if content.startswith(_CONTINUED):
            # The context of the message before, and another statement.
            content = self._content.partition(_STATEMENT)[0] + _STATEMENT + content[1:]
        self._content, context = content, storable_json(content)
        self.is_context_invalid = context is not content
        self._enter(context)

    def claim(self, relation: Relation, lsn: int) -> ChangeHeader:
        """The place of the next change. Raises ProtocolError outside a transaction."""
        if self.begin is None:
            raise ProtocolError(f"a row of {relation.schema}.{relation.name} outside a transaction")
        place = ChangeHeader(self.begin, self._ordinal, relation, self._context, lsn)
        self._ordinal += 1
        return place

    def _enter(self, context: bytes) -> None:
        self._context = context
        self.is_skipping = self._skipped.follow(context)


def read_again(place: ChangeHeader, data: bytes) -> Stitched:
    """The change of a row message that was read before, from its bytes.

    Raises ProtocolError for a message that is none of a row.
    """
    decoder = Decoder()
    decoder.know(place.relation)
    message = decoder.decode(data)
    if not isinstance(message, (*_ROWS, Truncate)):
        raise ProtocolError
    return _change(place, message)


def _change(place: ChangeHeader, message: Insert | Update | Delete | Truncate) -> Stitched:
    begin, ordinal, relation, context, lsn = place
    operation, before, after = _effect(message)
    return Stitched(begin, ordinal, relation, operation, before, after, context, lsn)


def _effect(message: Insert | Update | Delete | Truncate) -> tuple[str, Row | None, Row | None]:
    if isinstance(message, Insert):
        return "CREATE", None, message.after
    if isinstance(message, Update):
        return "UPDATE", message.before, message.after
    if isinstance(message, Delete):
        return "DELETE", message.before, None
    return "TRUNCATE", None, None


class Skipped:
    """Counts the changes that are not to be recorded, by table, context and operation.

    ``limit`` counts are kept; with more, they are told before the end of the transaction.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._counts: dict[tuple[int, str], tuple[Stitched, Counter[str]]] = {}
        self._remark: str | None = None

    def follow(self, context: bytes) -> bool:
        """Take the context of the changes that come; tell whether they are counted."""
        self._remark = _remark(context)
        return self._remark is not None

    def sift(self, changes: list[Stitched]) -> list[Stitched]:
        """Return the changes that are to be recorded."""
        if self._remark is None:
            return changes
        for change in changes:
            key = change.relation.oid, self._remark
            if key not in self._counts:
                summary = change._replace(operation="SKIPPED", before=None, after=None)
                self._counts[key] = summary, Counter()
            self._counts[key][1][change.operation] += 1
        return self.take() if len(self._counts) >= self._limit else []

    def take(self) -> list[Stitched]:
        """Return the counts as changes, each in the place of the first that it counts, and forget them."""
        if not self._counts:
            return []
        taken = [
            summary._replace(context=json.dumps({**json.loads(remark), "rows": count}).encode())
            for (_, remark), (summary, count) in self._counts.items()
        ]
        self._counts = {}
        return taken


def _remark(context: bytes) -> str | None:
    """What is recorded of a context whose rows are skipped, None for any other."""
    if _SKIP not in context:
        return None
    values = json.loads(context)
    if values.pop(SKIP_KEY, None) is not True:
        return None
    # Of many statements.
    values.pop(SQL_KEY, None)
    return json.dumps(values)


def storable_json(content: bytes) -> bytes:
    """Return a context that jsonb accepts: what is not a JSON object is kept as text under a key."""
    try:
        # What this parser takes, jsonb takes too, but for NUL; it is the faster one by far.
        if b"\\u0000" not in content and isinstance(orjson.loads(content), dict):
            return content
    except ValueError:
        pass
    try:
        # Kept as it came when it can be: decoding would damage large numbers.
        if isinstance(json.loads(content), dict) and not _needs_care(content):
            return content
    except (ValueError, RecursionError):
        pass
    return invalid_context(content)


def invalid_context(content: bytes) -> bytes:
    """A context that holds another one, which is none, as text."""
    text = content.decode("utf-8", "replace").replace("\0", "\u2400")
    return json.dumps({INVALID_KEY: text}).encode()


def _needs_care(content: bytes) -> bool:
    if b"NaN" in content or b"Infinity" in content:
        json.loads(content, parse_constant=_reject)
    if _NUL(content):
        return True
    if b"\\ud" in content or b"\\uD" in content:
        json.dumps(json.loads(content), ensure_ascii=False).encode()
    return False


def _reject(constant: str) -> None:
    raise ValueError(constant)
