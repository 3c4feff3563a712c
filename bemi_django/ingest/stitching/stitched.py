"""A change with the context of its statement, with and without its values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Begin, Delete, Insert, Relation, Row, Truncate, Update
from bemi_django.ingest.stitching.operations import CREATE, DELETE, TRUNCATE, UPDATE

#: Messages of one row.
RowMessage = Insert | Update | Delete


class ChangeHeader(NamedTuple):
    """A change without its values; together with the message of its row it is complete.

    ``ordinal`` counts the changes of the transaction from 0, ``context`` is JSON text, and ``lsn`` is the
    row's position in the WAL, or 0 if it is unknown.
    """

    begin: Begin
    ordinal: int
    relation: Relation
    context: bytes
    lsn: int


#: Makes a header of its fields, in half of the time of :class:`ChangeHeader`: there is one for each row.
header_of: Callable[[tuple[Begin, int, Relation, bytes, int]], ChangeHeader] = partial(
    tuple.__new__, ChangeHeader
)


class Stitched(NamedTuple):
    """A change: its header, and the values of its rows."""

    begin: Begin
    ordinal: int
    relation: Relation
    operation: str
    before: Row | None
    after: Row | None
    context: bytes
    lsn: int = 0


def stitch(header: ChangeHeader, message: RowMessage | Truncate) -> Stitched:
    """Return the change that a message makes."""
    begin, ordinal, relation, context, lsn = header
    operation, before, after = _effect(message)
    return Stitched(begin, ordinal, relation, operation, before, after, context, lsn)


def read_again(header: ChangeHeader, data: bytes) -> Stitched:
    """Return the change of a row message that was read before, from its bytes.

    Raises:
        ProtocolError: If the message is not one of a row.
    """
    decoder = Decoder()
    decoder.know(header.relation)
    message = decoder.decode(data)
    if not isinstance(message, (Insert, Update, Delete, Truncate)):
        raise ProtocolError
    return stitch(header, message)


def _effect(message: RowMessage | Truncate) -> tuple[str, Row | None, Row | None]:
    if isinstance(message, Insert):
        return CREATE, None, message.after
    if isinstance(message, Update):
        return UPDATE, message.before, message.after
    if isinstance(message, Delete):
        return DELETE, message.before, None
    return TRUNCATE, None, None
