"""Cut values out of a row message, as if they had not been sent."""

from __future__ import annotations

from collections.abc import Collection

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.byte_layout import (
    KIND_AND_LENGTH,
    NEW_ROW,
    NULL_VALUE,
    OID_AT,
    OLD_KEY,
    OLD_ROW,
    PADDING,
    TEXT_VALUE,
    UNCHANGED_VALUE,
)

_KINDS = (b"I", b"U", b"D")
_NOT_SENT = bytes([UNCHANGED_VALUE])
_MARK_AT = OID_AT + 4


def without_values(message: bytes, columns: Collection[int]) -> bytes:
    """Return a message without the values of some columns.

    Args:
        message: A message of kind ``I``, ``U`` or ``D``.
        columns: The columns, by index.

    Raises:
        ProtocolError: It is another message, or incomplete.
    """
    if message[:1] not in _KINDS:
        raise ProtocolError("no message of a row")
    parts = [message[:_MARK_AT]]
    padded, at = message + PADDING, _MARK_AT
    while at < len(message):
        if message[at : at + 1] not in (OLD_ROW, OLD_KEY, NEW_ROW) or at + 3 > len(message):
            raise ProtocolError("a row without its mark")
        count = int.from_bytes(message[at + 1 : at + 3], "big")
        parts.append(message[at : at + 3])
        at += 3
        for number in range(count):
            end = _end_of_value(padded, at)
            parts.append(_NOT_SENT if number in columns else message[at:end])
            at = end
            if at > len(message):
                raise ProtocolError("a row that ends within a value")
    return b"".join(parts)


def _end_of_value(padded: bytes, at: int) -> int:
    if at + KIND_AND_LENGTH.size > len(padded):
        raise ProtocolError("a row that ends before its values")
    kind, length = KIND_AND_LENGTH.unpack_from(padded, at)
    if kind in (NULL_VALUE, UNCHANGED_VALUE):
        return at + 1
    if kind == TEXT_VALUE:
        return at + KIND_AND_LENGTH.size + int(length)
    raise ProtocolError("a value of an unknown kind")
