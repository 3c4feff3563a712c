"""Decode the bytes of the pgoutput protocol, version 1 (PostgreSQL docs, 55.9)."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.byte_layout import (
    KIND_AND_LENGTH,
    MARK_AT,
    NEW_ROW,
    NULL_VALUE,
    OID_AT,
    OLD_KEY,
    OLD_ROW,
    PADDING,
    PREFIX_AT,
    ROW_AT,
    TEXT_VALUE,
    UNCHANGED_VALUE,
    logical_content,
)
from bemi_django.ingest.protocol.messages import (
    UNAVAILABLE,
    Begin,
    Column,
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
from bemi_django.ingest.protocol.names import ESCAPED

_BEGIN = Struct(">xQqI")
_COMMIT = Struct(">xxQQ8x")
_COLUMN = Struct(">Ii")
_INT16 = Struct(">h")
_UINT32 = Struct(">I")
_MESSAGE = Struct(">xBQ")


class Decoder:
    """Decodes the messages of one stream; it must see all of them, to know the tables of the rows."""

    def __init__(self) -> None:
        #: Tables by oid, as the server described them last.
        self.relations: dict[int, Relation] = {}

    def decode(self, data: bytes) -> Decoded | None:
        """Return the decoded message, or None for one that has nothing to do with rows (origin, type).

        Raises:
            ProtocolError: If the bytes are not pgoutput.
        """
        try:
            return self._decode(data)
        except (LookupError, StructError, ValueError) as error:
            raise ProtocolError(f"undecodable message of type {data[:1]!r}: {error}") from error

    def outline(self, data: bytes) -> Decoded | None:
        """Return a row message without its values, for one that cannot be decoded.

        Returns:
            A message whose values are all ``UNAVAILABLE``, or None if not even its table is known.
        """
        try:
            relation = self._relation(data, OID_AT)
        except (LookupError, StructError):
            return None
        unknown: Row = [UNAVAILABLE] * len(relation.columns)
        outlines: dict[bytes, Decoded] = {
            b"I": Insert(relation, unknown),
            b"U": Update(relation, unknown, unknown),
            b"D": Delete(relation, unknown),
        }
        return outlines.get(data[:1])

    def know(self, relation: Relation) -> None:
        """Take a table's description as if the server had sent it."""
        self.relations[relation.oid] = relation

    def _decode(self, data: bytes) -> Decoded | None:
        kind = data[:1]
        # Rows are seldom decoded here.
        if kind == b"B":
            return Begin(*_BEGIN.unpack_from(data))
        if kind == b"C":
            return Commit(*_COMMIT.unpack_from(data))
        if kind == b"I":
            row, _ = _row(data, ROW_AT)
            return Insert(self._relation(data, OID_AT), row)
        if kind == b"U":
            return self._update(data)
        if kind == b"D":
            return self._delete(data)
        if kind == b"M":
            return _message(data)
        if kind == b"R":
            relation = _describe(data)
            self.relations[relation.oid] = relation
            return relation
        if kind == b"T":
            (count,) = _UINT32.unpack_from(data, 1)
            return Truncate(tuple(self._relation(data, 6 + 4 * index) for index in range(count)))
        if kind in (b"O", b"Y"):
            return None
        raise ProtocolError(f"unknown message type {kind!r}")

    def _relation(self, data: bytes, offset: int) -> Relation:
        return self.relations[_UINT32.unpack_from(data, offset)[0]]

    def _update(self, data: bytes) -> Update:
        relation = self._relation(data, OID_AT)
        mark = data[MARK_AT:ROW_AT]
        if mark == NEW_ROW:
            after, _ = _row(data, ROW_AT)
            # The columns of the identity did not change, or the old row would have been sent.
            return Update(relation, _identity(relation, after), after)
        before, offset = _row(data, ROW_AT)
        after, _ = _row(data, offset + 1)
        if mark == OLD_KEY:
            before = _identity(relation, before)
        pairs = zip(after, before, strict=True)
        return Update(relation, before, [old if new is UNAVAILABLE else new for new, old in pairs])

    def _delete(self, data: bytes) -> Delete:
        relation = self._relation(data, OID_AT)
        before, _ = _row(data, ROW_AT)
        is_whole = data[MARK_AT:ROW_AT] == OLD_ROW
        return Delete(relation, before if is_whole else _identity(relation, before))


def _identity(relation: Relation, row: Row) -> Row:
    pairs = zip(relation.columns, row, strict=True)
    return [value if column.in_identity else UNAVAILABLE for column, value in pairs]


def _row(data: bytes, offset: int) -> tuple[Row, int]:
    (count,) = _INT16.unpack_from(data, offset)
    offset += 2
    end = len(data)
    data += PADDING
    look = KIND_AND_LENGTH.unpack_from
    row: Row = []
    for _ in range(count):
        kind, length = look(data, offset)
        offset += 1
        if kind == TEXT_VALUE:
            start = offset + 4
            offset = start + length
            row.append(data[start:offset])
        elif kind == NULL_VALUE:
            row.append(None)
        elif kind == UNCHANGED_VALUE:
            row.append(UNAVAILABLE)
        else:
            raise ValueError(f"unknown column kind {kind}")
    if offset > end:
        raise ValueError("a value is incomplete")
    return row, offset


def _text(data: bytes, offset: int) -> tuple[bytes, int]:
    end = data.index(b"\0", offset)
    return data[offset:end], end + 1


def _describe(data: bytes) -> Relation:
    (oid,) = _UINT32.unpack_from(data, 1)
    schema, offset = _text(data, 5)
    name, offset = _text(data, offset)
    (count,) = _INT16.unpack_from(data, offset + 1)
    offset += 3
    columns = []
    for _ in range(count):
        in_identity = bool(data[offset] & 1)
        column, offset = _text(data, offset + 1)
        type_oid, _modifier = _COLUMN.unpack_from(data, offset)
        offset += 8
        columns.append(Column(column.decode(errors=ESCAPED), type_oid, in_identity))
    # The server omits the schema of its own catalog.
    schema = schema or b"pg_catalog"
    return Relation(oid, schema.decode(errors=ESCAPED), name.decode(errors=ESCAPED), tuple(columns))


def _message(data: bytes) -> Message:
    flags, lsn = _MESSAGE.unpack_from(data)
    prefix, offset = _text(data, PREFIX_AT)
    content = logical_content(data, data[PREFIX_AT:offset])
    if content is None:
        raise ValueError("the content of a logical message is incomplete")
    return Message(lsn, prefix, content, bool(flags & 1))
