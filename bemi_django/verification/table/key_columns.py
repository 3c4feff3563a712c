"""The columns of the primary key of a table that is compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bemi_django.log.live.key_query import EQUALS, key_query
from bemi_django.verification.table.transaction_ids import whole_xid

_LABELS = """(
    SELECT json_object_agg(e.enumlabel, e.xmin::text::bigint)
    FROM pg_enum e WHERE e.enumtypid = t.oid)"""
_KEY = key_query(EQUALS, "i.xmin::text::bigint", _LABELS)


class KeyColumn(NamedTuple):
    """A column of the primary key.

    Attributes:
        name: Its name.
        type: Its type as SQL; of a domain, the type that it is made of.
        equals: The operator that compares two of its values.
        indexed: The transaction that made the index, as ALTER does when it gives the column another type.
        labels: Of an enum, the transaction that last gave each label to a value; None of other types.
    """

    name: str
    type: str
    equals: str
    indexed: int
    labels: Mapping[str, int] | None


def read_key(cursor: Any, oid: int, latest: int) -> list[KeyColumn]:
    """Return the columns of a table's key, in its order.

    Args:
        cursor: A cursor of the source whose search_path is ``pg_catalog``.
        oid: The table.
        latest: The 64-bit id of a recent transaction.
    """
    cursor.execute(_KEY, {"table": oid})
    return [
        KeyColumn._make(
            (*row, whole_xid(xid, latest), labels and {k: whole_xid(v, latest) for k, v in labels.items()})
        )
        for *row, xid, labels in cursor.fetchall()
    ]


def parts_of_key(key: str, columns: Sequence[KeyColumn]) -> list[str]:
    """Return the texts of the parts of a key, in the log's notation; of parts that are no texts, any text.

    A key of a table whose key had one column is not one of several.
    """
    if len(columns) == 1:
        return [key]
    with suppress(ValueError):
        parts = json.loads(key)
        if isinstance(parts, list):
            return [str(part) for part in parts]
    return []
