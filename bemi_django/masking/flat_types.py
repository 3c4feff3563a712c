"""Types whose values have no keys in them: rules for what is under a key say nothing of them."""

from __future__ import annotations

#: The oids of plain types, which are those of every server, and of arrays of them. All others may have keys:
#: JSON, hstore, composite types, domains, and types of users, which may have a cast to JSON.
FLAT_TYPES = frozenset(
    (
        # bool, bytea, "char", name, int8, int2, int4, text, oid, float4, float8, money
        16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 790,
        # macaddr, inet, cidr, macaddr8, bpchar, varchar, date, time, timestamp, timestamptz, interval, timetz
        829, 869, 650, 774, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266,
        # bit, varbit, numeric, uuid
        1560, 1562, 1700, 2950,
        # Arrays of bool, bytea, int8, int2, int4, text, float4, float8, bpchar, varchar
        1000, 1001, 1016, 1005, 1007, 1009, 1021, 1022, 1014, 1015,
        # Arrays of date, time, timestamp, timestamptz, interval, numeric, uuid, inet
        1182, 1183, 1115, 1185, 1187, 1231, 2951, 1041,
    )
)  # fmt: skip
#: Names of plain types, without their modifiers, as Django and SQLAlchemy print them.
_FLAT_NAMES = frozenset(
    (
        "bigint", "bigserial", "boolean", "bytea", "char", "cidr", "date", "double precision", "float",
        "inet", "integer", "interval", "macaddr", "numeric", "real", "serial", "smallint", "smallserial",
        "text", "time", "timestamp", "uuid", "varchar",
    )
)  # fmt: skip
_TIME = ("time", "timestamp")
#: The oid of a type of which nothing is known.
UNKNOWN_TYPE = 0
#: That of a type whose values have no keys, for columns that are known by a model.
TEXT = 25


def type_named(printed: str | None) -> int:
    """Return :data:`TEXT` for a type whose values have no keys in them, or :data:`UNKNOWN_TYPE`.

    Args:
        printed: The type of a column as Django or SQLAlchemy print it, such as ``varchar(20)``.
    """
    name = (printed or "").lower().partition("(")[0].strip()
    if name.startswith(_TIME):
        name = name.partition(" ")[0]
    return TEXT if name in _FLAT_NAMES else UNKNOWN_TYPE
