"""Generate a function for each table that reads the values of a row from a message and renders them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import orjson

from bemi_django.encryption.column_ciphers import ColumnCipher
from bemi_django.ingest.protocol.byte_layout import KIND_AND_LENGTH, NULL_VALUE, TEXT_VALUE
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.values import Encoder

#: Reads the row at an offset of a message that has ``PADDING`` appended. Returns the offset after the row,
#: its JSON, its key, and the values that are compared only; or None for a row that needs the long path.
#: Raises ValueError, LookupError or struct.error for a malformed one.
RowReader = Callable[[bytes, int], tuple[int, bytes, bytes | None, tuple[bytes | None, ...]] | None]

_FUNCTION = """
def read(data, at):
    key = None
    if data[at : at + 2] != count:
        return None
    at += 2
{columns}
{encrypted}
    return at, template % ({values}), key, ({unseen})
"""
_COLUMN = """
    kind, length = look(data, at)
    if kind == {text}:
        start = at + 5
        at = start + length
        value = data[start:at]
        v{number} = {rendered}
        {remember}
    elif kind == {null}:
        at += 1
        v{number} = b"null"
        {forget}
    else:
        return None
"""
_ABSENT = """
    kind, length = look(data, at)
    if kind == {text}:
        start = at + 5
        at = start + length
        {remember}
    elif kind == {null}:
        at += 1
        {forget}
    else:
        return None
"""
_ENCRYPTED = """
    v{number} = encrypt{number}(v{number}, {key})
"""
#: The bodies of the most common encoders, to save the call.
_INLINE: dict[Encoder, str] = {
    values.text: "dumps(value.decode())",
    values.number: """value if value[-1] in b"0123456789" else b'"%b"' % value""",
    values.fraction: """value if value[-1] in b"0123456789" else b'"%b"' % value""",
    values.boolean: 'b"true" if value == b"t" else b"false"',
    values.raw: "value",
}


def make_reader(
    template: bytes,
    order: tuple[int, ...],
    encoders: tuple[Encoder | None, ...],
    key: int | None,
    *,
    hides_key: bool = False,
    ciphers: Sequence[ColumnCipher] = (),
    unseen: Collection[int] = (),
) -> RowReader:
    """Generate the reader of a table's rows.

    Args:
        template: The JSON object of a row, with a placeholder for each value.
        order: The columns of these values, as indexes.
        encoders: The encoder of each column; None for one whose values are passed over.
        key: The index of the column that is the primary key, or None.
        hides_key: Whether the key is the string that the column is rendered as, because it is masked.
        ciphers: How columns are encrypted.
        unseen: The columns whose values are compared, as indexes in ascending order.
    """
    by = {cipher.by: cipher.by_rendered for cipher in ciphers if cipher.by is not None}

    def forget(number: int) -> str:
        names = [f"by{number} = "] * (number in by) + [f"u{number} = "] * (number in unseen)
        return f"{''.join(names)}None" if names else ""

    columns = [
        _ABSENT.format(
            text=TEXT_VALUE,
            null=NULL_VALUE,
            remember="; ".join(
                [f"by{number} = {'None' if by.get(number) else 'data[start:at]'}"] * (number in by)
                + [f"u{number} = data[start:at]"] * (number in unseen)
            ),
            forget=forget(number),
        )
        if encode is None
        else _COLUMN.format(
            text=TEXT_VALUE,
            null=NULL_VALUE,
            number=number,
            remember="; ".join(
                [f"key = v{number}[1:-1]" if hides_key else "key = value"] * (number == key)
                + [f"by{number} = {f'v{number}' if by.get(number) else 'value'}"] * (number in by)
                + [f"u{number} = value"] * (number in unseen)
            ),
            forget=forget(number),
            rendered=_INLINE.get(encode, f"encoders[{number}](value)"),
        )
        for number, encode in enumerate(encoders)
    ]
    encrypted = [
        _ENCRYPTED.format(number=cipher.column, key="key" if cipher.by is None else f"by{cipher.by}")
        for cipher in ciphers
    ]
    present = "".join(f"v{number}, " for number in order)
    compared = "".join(f"u{number}, " for number in unseen)
    source = _FUNCTION.format(
        columns="".join(columns), encrypted="".join(encrypted), values=present, unseen=compared
    )
    names: dict[str, Any] = {
        "count": len(columns).to_bytes(2, "big"),
        "dumps": orjson.dumps,
        "encoders": encoders,
        "look": KIND_AND_LENGTH.unpack_from,
        "template": template,
        **{f"encrypt{cipher.column}": cipher.encrypt for cipher in ciphers},
    }
    # The source consists of numbers and of this module's own text: no name of a column is in it.
    exec(source, names)
    reader: RowReader = names["read"]
    return reader
