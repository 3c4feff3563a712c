"""A function for each table that reads the values of a row from a message and renders them, all in one."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import orjson

from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.values import Encoder

#: Reads the row at an offset of a message with ``PADDING`` behind it: where it ends, its JSON, its key; None
#: for one that needs care. Raises ValueError, LookupError or struct.error for what is wrong.
RowReader = Callable[[bytes, int], tuple[int, bytes, bytes | None] | None]

# The last value may be NULL, which has no length to look at.
PADDING = bytes(4)

_KIND_AND_LENGTH = Struct(">BI")
_FUNCTION = """
def reader(data, at):
    key = None
    if data[at : at + 2] != count:
        return None
    at += 2
{columns}
    return at, template % ({values}), key
"""
_COLUMN = """
    kind, length = look(data, at)
    if kind == 116:  # t
        start = at + 5
        at = start + length
        value = data[start:at]
        {remember}
        v{number} = {rendered}
    elif kind == 110:  # n
        at += 1
        v{number} = b"null"
    else:
        return None
"""
#: What the encoders of the most common types do, without the call.
_INLINE: dict[Encoder, str] = {
    values.text: "dumps(value.decode())",
    values.number: """value if value[-1:].isdigit() else b'"%b"' % value""",
    values.boolean: 'b"true" if value == b"t" else b"false"',
    values.raw: "value",
}


def make_reader(template: bytes, encoders: tuple[Encoder, ...], key: int | None) -> RowReader:
    """Write the function for rows with these columns; ``key`` is the number of the one that is the key."""
    columns = [
        _COLUMN.format(
            number=number,
            remember="key = value" if number == key else "",
            rendered=_INLINE.get(encode, f"encoders[{number}](value)"),
        )
        for number, encode in enumerate(encoders)
    ]
    source = _FUNCTION.format(
        columns="".join(columns), values="".join(f"v{number}, " for number in range(len(columns)))
    )
    names: dict[str, Any] = {
        "count": len(columns).to_bytes(2, "big"),
        "dumps": orjson.dumps,
        "encoders": encoders,
        "look": _KIND_AND_LENGTH.unpack_from,
        "template": template,
    }
    # Made of numbers and of this module's own words.
    exec(source, names)
    reader: RowReader = names["reader"]
    return reader
