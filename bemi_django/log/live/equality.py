"""Compare columns with the operator of their index or foreign key, which the search path cannot replace.

``=`` is looked up in the path. An operator of anybody whose arguments are exactly of the columns' type, as
``=(varchar, varchar)``, would be preferred to that of PostgreSQL, which takes text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# PostgreSQL's own schema is closed. In another one, only operands of exactly the operator's types exclude the
# operators that somebody else created there under its name.
# That of enums takes no domain over one. No foreign key refers to such a domain.
_OPERAND = """(
    SELECT CASE WHEN oid = 'anyenum'::regtype THEN coalesce('::' || format_type({base}, NULL), '')
           WHEN o.oprnamespace = 'pg_catalog'::regnamespace OR typtype = 'p' THEN ''
           ELSE concat('::', format_type(oid, NULL)) END
    FROM pg_type WHERE oid = o.{side})"""
# The arguments of Equality for the operator ``o``.
_AS_JSON = """json_agg(json_build_array({left},
    (SELECT format('OPERATOR(%%I.%%s)', nspname, o.oprname) FROM pg_namespace WHERE oid = o.oprnamespace),
    {right}) ORDER BY k.number)::text""".replace("{left}", _OPERAND.replace("{side}", "oprleft")).replace(
    "{right}", _OPERAND.replace("{side}", "oprright")
)
# The type of which a column of an index is made.
_BASE = """(
    WITH RECURSIVE made (oid, depth) AS (
        SELECT a.atttypid, 0 FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = k.attnum
        UNION ALL
        SELECT t.typbasetype, depth + 1 FROM made m JOIN pg_type t ON t.oid = m.oid WHERE t.typtype = 'd'
    ) SELECT oid FROM made ORDER BY depth DESC LIMIT 1)"""
#: SQL for the operators of an index ``i``, for :func:`equalities`. That of a key WITHOUT OVERLAPS is none of
#: btree, and has other operators: its columns are compared as btree would.
OF_INDEX = """(
    SELECT {operators}
    FROM unnest(i.indclass::oid[], i.indkey::int2[]) WITH ORDINALITY k (class, attnum, number)
    JOIN pg_opclass own ON own.oid = k.class
    JOIN pg_opclass class ON class.oid = coalesce((
        SELECT tree.oid FROM pg_opclass tree JOIN pg_am m ON m.oid = tree.opcmethod
        WHERE i.indisexclusion AND m.amname = 'btree' AND tree.opcdefault AND tree.opcintype = own.opcintype
        ), own.oid)
    JOIN pg_amop equal ON equal.amopfamily = class.opcfamily AND equal.amopstrategy = 3
        AND equal.amoplefttype = class.opcintype AND equal.amoprighttype = class.opcintype
    JOIN pg_operator o ON o.oid = equal.amopopr
    WHERE k.number <= i.indnkeyatts)""".replace("{operators}", _AS_JSON).replace("{base}", _BASE)
#: SQL for the operators of a foreign key ``f``: columns of the parent on the left, of the child on the right.
OF_REFERENCE = """(
    SELECT {operators}
    FROM unnest(f.conpfeqop) WITH ORDINALITY k (operator, number)
    JOIN pg_operator o ON o.oid = k.operator)""".replace("{operators}", _AS_JSON).replace("{base}", "NULL")
#: SQL for the operators of an exclusion constraint ``u``. Two rows for which all hold exclude each other.
OF_EXCLUSION = """(
    SELECT {operators}
    FROM unnest(u.conexclop) WITH ORDINALITY k (operator, number)
    JOIN pg_operator o ON o.oid = k.operator)""".replace("{operators}", _AS_JSON).replace("{base}", "NULL")


class Equality(NamedTuple):
    """The operator that compares two columns; ``is_swapped`` if the second one is its left operand."""

    left_cast: str
    operator: str
    right_cast: str
    is_swapped: bool = False

    def of(self, one: str, other: str) -> str:
        """Return the SQL that compares two expressions, for a statement with parameters."""
        left, right = (other, one) if self.is_swapped else (one, other)
        operator = f"{self.left_cast} {self.operator} ".replace("%", "%%")
        return f"{left}{operator}{right}{self.right_cast.replace('%', '%%')}"


def equalities(printed: str) -> tuple[Equality, ...]:
    """Return the operators of columns from ``OF_INDEX`` or ``OF_REFERENCE``."""
    return tuple(Equality(*one) for one in json.loads(printed))


def swapped(found: Iterable[Equality]) -> tuple[Equality, ...]:
    """Return the operators for the columns in the other order."""
    return tuple(one._replace(is_swapped=not one.is_swapped) for one in found)


def all_equal(found: Sequence[Equality], target: Iterable[str], source: Iterable[str]) -> str:
    """Return the SQL that compares several expressions with several others."""
    pairs = zip(found, target, source, strict=True)
    return " AND ".join(equality.of(one, other) for equality, one, other in pairs)
