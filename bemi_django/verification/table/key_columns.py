"""The columns of the primary key of a table that is compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bemi_django.verification.table.transaction_ids import whole_xid

# The operator is the one of the index, whatever the search_path has. That of an enum takes no domain over it.
_KEY = """
WITH RECURSIVE made (type, base) AS (
    SELECT a.atttypid, a.atttypid FROM pg_attribute a WHERE a.attrelid = %(table)s AND a.attnum > 0
    UNION
    SELECT m.type, t.typbasetype FROM made m JOIN pg_type t ON t.oid = m.base WHERE t.typtype = 'd'
)
SELECT a.attname, format_type(t.oid, -1), format('OPERATOR(%%I.%%s)', on_.nspname, o.oprname),
       i.xmin::text::bigint, (
    SELECT json_object_agg(e.enumlabel, e.xmin::text::bigint)
    FROM pg_enum e WHERE e.enumtypid = t.oid)
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k (attnum, class, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
JOIN pg_opclass x ON x.oid = k.class
JOIN pg_amop p ON p.amopfamily = x.opcfamily AND p.amopstrategy = 3
    AND p.amoplefttype = x.opcintype AND p.amoprighttype = x.opcintype
JOIN pg_operator o ON o.oid = p.amopopr
JOIN pg_namespace on_ ON on_.oid = o.oprnamespace
JOIN made m ON m.type = a.atttypid
JOIN pg_type t ON t.oid = m.base AND t.typtype <> 'd'
WHERE i.indrelid = %(table)s AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place
"""


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
