"""The query for the columns of a primary key, with the operators of its index."""

from __future__ import annotations

# Of btree, as PostgreSQL numbers them.
_EQUAL, _GREATER = 3, 5
# An operator is named with its schema: another search path may have another one.
_OPERATOR = """(
    SELECT format('OPERATOR(%%I.%%s)', s.nspname, o.oprname)
    FROM pg_amop p JOIN pg_operator o ON o.oid = p.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
    WHERE p.amopfamily = x.opcfamily AND p.amopstrategy = {}
        AND p.amoplefttype = x.opcintype AND p.amoprighttype = x.opcintype)"""
#: The operator that tells whether two values of a column are equal, and whether the first one is greater.
EQUALS, EXCEEDS = _OPERATOR.format(_EQUAL), _OPERATOR.format(_GREATER)
# The operator of an enum takes no domain over it.
_COLUMNS = """
WITH RECURSIVE made (type, base) AS (
    SELECT a.atttypid, a.atttypid FROM pg_attribute a WHERE a.attrelid = %(table)s AND a.attnum > 0
    UNION
    SELECT m.type, t.typbasetype FROM made m JOIN pg_type t ON t.oid = m.base WHERE t.typtype = 'd'
)
SELECT a.attname, format_type(t.oid, -1), {}
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k (attnum, class, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
JOIN pg_opclass x ON x.oid = k.class
JOIN made m ON m.type = a.atttypid
JOIN pg_type t ON t.oid = m.base AND t.typtype <> 'd'
WHERE i.indrelid = %(table)s AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place
"""


def key_query(*selected: str) -> str:
    """Return a query for the names and types of the columns of a key, in its order, and for what is selected.

    Its parameter is ``table``, an oid. The search path has to be ``pg_catalog``.

    Args:
        selected: SQL about the index ``i``, its column ``a`` and the type of that, ``t``; of a domain, the
            type that it is made of.
    """
    return _COLUMNS.format(", ".join(selected))
