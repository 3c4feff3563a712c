"""The statements with which a restored table takes the place of the old one."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

from bemi_django.restoration.new_table import Name, exists
from bemi_django.schema.sql import quote
from bemi_django.wire.table_name import beside


def swap(cursor: Any, old: Name, new: Name) -> list[str]:
    """Return the statements with which the new table takes the place of the old one."""
    schema, name = old
    lines = ["BEGIN;"]
    if exists(cursor, old):
        lines.append(f"ALTER TABLE {_quoted(old)} RENAME TO {quote(_free_name(cursor, old))};")
    if new[0] != schema:
        lines.append(f"ALTER TABLE {_quoted(new)} SET SCHEMA {quote(schema)};")
    lines.append(f"ALTER TABLE {_quoted((schema, new[1]))} RENAME TO {quote(name)};")
    return [*lines, "COMMIT;"]


def _free_name(cursor: Any, old: Name) -> str:
    """Return a name for the old table that no other one has, such as one that was replaced before."""
    suffixes = chain(["_replaced"], (f"_replaced_{number}" for number in count(2)))
    return next(name for suffix in suffixes if not exists(cursor, (old[0], name := beside(old[1], suffix))))


def _quoted(name: Name) -> str:
    return ".".join(map(quote, name))
