"""Send values of many megabytes to a computation, and take what it returns, a part of them at a time.

A statement with a large value would be held several times: as text, quoted, composed, and as libpq sends it.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bemi_django.ingest.rows.nested.window import PIECE, pieces_of

#: Executes a statement with its parameters, and returns the rows.
Ask = Callable[..., "list[Any]"]

_BEGIN = "BEGIN READ ONLY"
# Settings of the transaction hold the parts until the computation joins them.
_PUT = "SELECT pg_catalog.set_config(%s, %s, true) IS NULL"
_JOINED = """(
    SELECT pg_catalog.string_agg(pg_catalog.current_setting(pg_catalog.concat('_bemi.sent_', part)),
        ''::pg_catalog.text ORDER BY part)
    FROM pg_catalog.generate_series(%s::pg_catalog.int4, %s::pg_catalog.int4) part
)"""
# What the first row needs is computed, and then everything is.
_COMPUTE = """
DECLARE computed NO SCROLL CURSOR FOR
WITH made (found) AS MATERIALIZED (SELECT _bemi.compute_v1(%s, ARRAY[{sent}]::pg_catalog.text[]))
SELECT value.number, pg_catalog.substr(content.bytes, part, {size})
FROM made, pg_catalog.unnest(made.found) WITH ORDINALITY value (text, number),
    LATERAL (SELECT pg_catalog.convert_to(value.text, 'UTF8'::pg_catalog.name) OFFSET 0) content (bytes),
    pg_catalog.generate_series(1, greatest(1, pg_catalog.octet_length(content.bytes)), {size}) part
"""
_FETCH = "FETCH computed"


def computed_in_pieces(ask: Ask, query: str, sent: Sequence[bytes | None], count: int) -> list[bytes | None]:
    """Return the values that a query computes; see ``Calculator.compute_in_pieces``."""
    ask(_BEGIN)
    arguments: list[str] = []
    parameters: list[object] = [query]
    number = 0
    for value in sent:
        if value is None or len(value) <= PIECE:
            arguments.append("%s")
            parameters.append(None if value is None else str(value, "utf-8"))
            continue
        first = number + 1
        for number, text in enumerate(_texts(value), first):
            ask(_PUT, [f"_bemi.sent_{number}", text])
        arguments.append(_JOINED)
        parameters += first, number
    ask(_COMPUTE.format(sent=", ".join(arguments), size=PIECE), parameters)
    found: list[io.BytesIO | None] = [None] * count
    while rows := ask(_FETCH):
        ((column, piece),) = rows
        if piece is not None:
            buffer = found[column - 1] = found[column - 1] or io.BytesIO()
            buffer.write(piece)
    return [None if buffer is None else buffer.getvalue() for buffer in found]


def _texts(value: bytes) -> Iterator[str]:
    # A piece may end within a character.
    decoder = codecs.getincrementaldecoder("utf-8")()
    for piece in pieces_of(value):
        yield decoder.decode(piece)
    decoder.decode(b"", final=True)
