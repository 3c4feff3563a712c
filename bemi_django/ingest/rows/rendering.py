"""Render a decoded row by its table's layout: as JSON, and as the key of a change."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import orjson

from bemi_django.encryption.column_ciphers import ColumnCipher
from bemi_django.ingest.protocol.messages import UNAVAILABLE, LargeRow, Row
from bemi_django.ingest.rows.canonical_json import canonical
from bemi_django.ingest.rows.copy_format import NULL, field_or_null, jsonb
from bemi_django.ingest.rows.jsonb_limits import NotJsonb
from bemi_django.ingest.rows.large_rows import LargeObject, rendered_pieces
from bemi_django.ingest.rows.nested.window import joined
from bemi_django.ingest.rows.row_layout import RowLayout, label
from bemi_django.ingest.rows.values import Encoder

#: The reason for a value that is JSON, but more than jsonb holds.
NOT_ACCEPTED = "not accepted as jsonb"
#: The JSON of a row that does not exist.
NO_ROW = b"{}"
#: A row as a JSON object: its text, or what renders it.
Json = bytes | LargeObject


class Lost(NamedTuple):
    """The columns, by index, whose values cannot be written."""

    before: frozenset[int] = frozenset()
    after: frozenset[int] = frozenset()


NOTHING = Lost()


def complete(layout: RowLayout, row: Row | None) -> Row | None:
    """Return the row with the columns that the stream omits."""
    if row is None or layout.computed is None:
        return row
    width, compute = layout.computed
    computed: Row = [UNAVAILABLE] * width
    # They may depend on a value that is missing.
    if not any(value is UNAVAILABLE for value in row):
        with suppress(ValueError):
            computed = compute(row)
    return LargeRow(row + computed) if isinstance(row, LargeRow) else row + computed


def json_object(layout: RowLayout, row: Row | None, lost: frozenset[int]) -> tuple[Json, list[str]]:
    """Return a complete row as a JSON object, and the names of the columns that are not in it.

    Raises:
        ValueError: If a value is not one of its type, or if the row has another number of columns.
        LookupError: If a type no longer exists.
    """
    if row is None:
        return NO_ROW, []
    if len(row) != len(layout.encoders):
        raise ValueError("a row with another number of columns")
    encoders = _encoders(layout, row, lost)
    if isinstance(row, LargeRow):
        return _large_object(layout, row, encoders, lost)
    if not lost and UNAVAILABLE not in row:
        values = [
            b"null" if (value := row[number]) is None else encoders[number](value)  # type: ignore[misc]
            for number in layout.template.order
        ]
        return layout.template.text % tuple(values), []
    pairs: list[bytes] = []
    missing: list[int] = []
    for number in layout.template.order:
        name, encode, value = layout.names[number], encoders[number], row[number]
        if value is None or encode is None:
            pairs.append(label(name) + b"null")
        elif value is UNAVAILABLE or number in lost:
            missing.append(number)
        else:
            pairs.append(label(name) + encode(value))
    return b"{" + b", ".join(pairs) + b"}", [layout.names[number] for number in sorted(missing)]


def _large_object(
    layout: RowLayout, row: LargeRow, encoders: Sequence[Encoder | None], lost: frozenset[int]
) -> tuple[LargeObject, list[str]]:
    missing = {
        number
        for number in layout.template.order
        if row[number] is not None
        and encoders[number] is not None
        and (row[number] is UNAVAILABLE or number in lost)
    }
    order = [number for number in layout.template.order if number not in missing]
    return LargeObject(row, layout, encoders, order), [layout.names[number] for number in sorted(missing)]


def _encoders(layout: RowLayout, row: Row, lost: frozenset[int]) -> Sequence[Encoder | None]:
    """Return the encoders of the columns, with the key of this row for those that are encrypted."""
    if not layout.ciphers:
        return layout.encoders
    encoders = list(layout.encoders)
    for cipher in layout.ciphers:
        if (encode := layout.encoders[cipher.column]) is not None:
            key = _key_of_cipher(layout, row, lost, cipher)
            encoders[cipher.column] = _encrypted(encode, cipher, key)
    return encoders


def _encrypted(encode: Encoder, cipher: ColumnCipher, key: bytes | None) -> Encoder:
    return lambda value: cipher.encrypt(encode(value), key)


def _key_of_cipher(layout: RowLayout, row: Row, lost: frozenset[int], cipher: ColumnCipher) -> bytes | None:
    if cipher.by is None:
        return key_text(layout, row, lost)
    value, render = row[cipher.by], layout.encoders[cipher.by]
    if value is None or value is UNAVAILABLE or cipher.by in lost:
        return None
    value = bytes(value)
    if not cipher.by_rendered:
        return value
    return render(value) if render else None


def key_field(layout: RowLayout, row: Row | None, lost: frozenset[int]) -> bytes:
    """Return the field that holds a row's key.

    A key of one column is its text, one of several columns is a jsonb array; the field is NULL if the table
    has no key or if the row's key is unknown.
    """
    return field_or_null(key_text(layout, row, lost))


def key_text(layout: RowLayout, row: Row | None, lost: frozenset[int]) -> bytes | None:
    """Return a row's key as :func:`key_field` has it, or None."""
    if not row or not layout.key:
        return None
    values: list[bytes] = []
    for number in layout.key:
        value = row[number]
        if value is None or value is UNAVAILABLE or number in lost:
            return None
        values.append(bytes(value))
    if len(values) == 1:
        encode = layout.encoders[layout.key[0]]
        return encode(values[0])[1:-1] if layout.hides_key and encode else values[0]
    encoders = [encode for number in layout.key if (encode := layout.encoders[number]) is not None]
    rendered = [encode(value) for encode, value in zip(encoders, values, strict=True)]
    # As the server prints jsonb, so that a key can be searched for.
    printed = [value if value[:1] == b'"' else canonical(value) for value in rendered]
    return b"[" + b", ".join(printed) + b"]"


def unavailable_of(
    layout: RowLayout, before: Sequence[str], after: Sequence[str], changed: Sequence[str]
) -> bytes:
    """Return the field that names columns of a row without their values; see :func:`unavailable_field`."""
    ignored = () if layout.selection is None else layout.selection.ignored
    return unavailable_field(before, after, ignored, layout.masked, changed)


def unavailable_field(
    before: Sequence[str],
    after: Sequence[str],
    ignored: Sequence[str] = (),
    masked: Sequence[str] = (),
    changed: Sequence[str] = (),
) -> bytes:
    """Return the field that names columns without their values.

    Args:
        before: Those without a value in the old row.
        after: Those without a value in the new row.
        ignored: Those that are ignored.
        masked: Those whose values are masked, whatever is kept of them.
        changed: Those of them that were changed, where that need not show.
    """
    # In the order of jsonb.
    named = {b"after": after, b"before": before, b"masked": masked, b"changed": changed, b"ignored": ignored}
    lists = [
        b'"%b": [%b]' % (why, b", ".join(map(orjson.dumps, names))) for why, names in named.items() if names
    ]
    return jsonb(b"{" + b", ".join(lists) + b"}") if lists else NULL


def failing_columns(
    layout: RowLayout, row: Row | None, accepts: Callable[[bytes], bool], side: str, reasons: list[str]
) -> Iterator[int]:
    """Yield the indexes of columns whose values cannot be written; append the reason for each to ``reasons``.

    Args:
        layout: How rows of the table are written.
        row: A complete row, or None.
        accepts: Tells whether the destination takes a JSON text as jsonb.
        side: ``before`` or ``after``, for the reasons.
        reasons: The list to append to.
    """
    if row is None:
        return
    for number, (name, encode, value) in enumerate(zip(layout.names, layout.encoders, row, strict=True)):
        if value is None or value is UNAVAILABLE or encode is None:
            continue
        try:
            rendered = joined(_checked(encode, value))
            if number in layout.key:
                canonical(rendered)
        except NotJsonb:
            reasons.append(f"{side}.{name}: {NOT_ACCEPTED}")
            yield number
        except (ValueError, LookupError) as error:
            reasons.append(f"{side}.{name}: {type(error).__name__}")
            yield number
        else:
            if not accepts(rendered):
                reasons.append(f"{side}.{name}: {NOT_ACCEPTED}")
                yield number


def _checked(encode: Encoder, value: bytes) -> Iterator[bytes]:
    """Yield the JSON of a value.

    Raises:
        ValueError: It is not one of its type, or not in UTF-8.
        LookupError: The type no longer exists.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    for piece in rendered_pieces(encode, value):
        decoder.decode(piece)
        yield piece
    decoder.decode(b"", final=True)
