"""Types whose values have no keys in them: rules for what is under a key say nothing of them."""

from __future__ import annotations

import re

from bemi_django.masking import words

#: The oids of plain types, which are those of every server, and of arrays of them. Of the others, :data:`OID`
#: tells which may have keys.
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
        # Arrays of "char", name, oid, money, macaddr, macaddr8, cidr, timetz, bit, varbit
        1002, 1003, 1028, 791, 1040, 775, 651, 1270, 1561, 1563,
        # Ranges, multiranges, and arrays of them
        3904, 3906, 3908, 3910, 3912, 3926, 4451, 4532, 4533, 4534, 4535, 4536,
        3905, 3907, 3909, 3911, 3913, 3927, 6150, 6151, 6152, 6153, 6155, 6157,
        # point, lseg, path, box, polygon, line, circle, and arrays of them
        600, 601, 602, 603, 604, 628, 718, 1017, 1018, 1019, 1020, 1027, 629, 719,
        # tsvector, gtsvector, tsquery, xml, jsonpath, refcursor, and arrays of them
        3614, 3642, 3615, 142, 4072, 1790, 3643, 3644, 3645, 143, 4073, 2201,
        # int2vector, oidvector, tid, xid, cid, xid8, pg_lsn, snapshots, aclitem, and arrays of them
        22, 30, 27, 28, 29, 5069, 3220, 2970, 5038, 1033,
        1006, 1013, 1010, 1011, 1012, 271, 3221, 2949, 5039, 1034,
        # regproc, regprocedure, regoper, regoperator, regclass, regtype, and arrays of them
        24, 2202, 2203, 2204, 2205, 2206, 1008, 2207, 2208, 2209, 2210, 2211,
        # regconfig, regdictionary, regcollation, regnamespace, regrole, and arrays of them
        3734, 3769, 4191, 4089, 4096, 3735, 3770, 4192, 4090, 4097,
    )
)  # fmt: skip
#: Names of plain types, without their modifiers, as Django and SQLAlchemy print them.
_FLAT_NAMES = frozenset(
    (
        "bigint", "bigserial", "boolean", "bytea", "char", "cidr", "citext", "date", "double precision",
        "float", "inet", "integer", "interval", "macaddr", "numeric", "real", "serial", "smallint",
        "smallserial", "text", "time", "timestamp", "uuid", "varchar", "character varying", "character",
        "decimal", "bit", "bit varying", "money", "oid", "tsvector", "tsquery", "xml",
        "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange",
        "int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange",
        "tstzmultirange",
    )
)  # fmt: skip
_TIME = ("time", "timestamp")
# The dimensions of an array: its values have keys if those of its elements have.
_DIMENSIONS = re.compile(r"(?:\s*\[\d*\])+\Z")
#: The oid of a type of which nothing is known.
UNKNOWN_TYPE = 0
#: That of a type whose values have no keys.
TEXT = 25
#: Stands for all types with composite types in them of which a field has a name that means a secret.
SECRET_FIELDS = -1
#: SQL for the oid of the type of a column, ``{0}``. It is :data:`TEXT` for enums, types of extensions and
#: users that have no cast to json, and domains and arrays of these and of plain types. All others may have
#: keys: JSON, hstore, composite types, of which some are :data:`SECRET_FIELDS`.
OID = """
CASE WHEN {0} OPERATOR(pg_catalog.<) '16384'::pg_catalog.oid THEN {0}::pg_catalog.int8
    WHEN (
        WITH RECURSIVE part (oid, name) AS (
            SELECT {0}, NULL::pg_catalog.text COLLATE pg_catalog."C"
            UNION
            SELECT inner_.oid, inner_.name
            FROM part p JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.oid
            CROSS JOIN LATERAL (
                SELECT t.typbasetype, NULL::pg_catalog.text COLLATE pg_catalog."C"
                WHERE t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog."char"
                UNION ALL
                SELECT t.typelem, NULL::pg_catalog.text COLLATE pg_catalog."C" WHERE t.typsubscript
                    OPERATOR(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
                UNION ALL
                SELECT f.atttypid, f.attname::pg_catalog.text COLLATE pg_catalog."C"
                FROM pg_catalog.pg_attribute f
                WHERE t.typtype OPERATOR(pg_catalog.=) 'c'::pg_catalog."char"
                    AND f.attrelid OPERATOR(pg_catalog.=) t.typrelid
                    AND f.attnum OPERATOR(pg_catalog.>) '0'::pg_catalog.int2 AND NOT f.attisdropped
            ) inner_ (oid, name))
        SELECT pg_catalog.bool_or({secret}) FROM part p)
    THEN -1
    WHEN (
        WITH RECURSIVE part (oid) AS (
            SELECT {0}
            UNION
            SELECT CASE t.typtype WHEN 'd'::pg_catalog."char" THEN t.typbasetype ELSE t.typelem END
            FROM part p JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.oid
            WHERE t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog."char" OR t.typsubscript
                OPERATOR(pg_catalog.=) 'pg_catalog.array_subscript_handler'::pg_catalog.regproc)
        SELECT pg_catalog.bool_and(CASE
            WHEN t.oid OPERATOR(pg_catalog.<) '16384'::pg_catalog.oid
                THEN t.oid OPERATOR(pg_catalog.=) ANY ('{{{flat}}}'::pg_catalog.oid[])
            WHEN t.typtype OPERATOR(pg_catalog.=) 'c'::pg_catalog."char" THEN false
            ELSE NOT EXISTS (
                SELECT FROM pg_catalog.pg_cast k WHERE k.castsource OPERATOR(pg_catalog.=) t.oid
                    AND k.casttarget OPERATOR(pg_catalog.=) 'pg_catalog.json'::pg_catalog.regtype) END)
        FROM part p JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.oid)
    THEN 25 ELSE {0}::pg_catalog.int8 END
""".replace("{flat}", ",".join(map(str, sorted(FLAT_TYPES)))).replace(
    "{secret}", words.SQL.replace("{0}", "p.name").replace("{", "{{")
)


def type_named(printed: str | None) -> int:
    """Return :data:`TEXT` for a type whose values have no keys in them, or :data:`UNKNOWN_TYPE`.

    Args:
        printed: The type of a column as Django or SQLAlchemy print it, such as ``varchar(20)[]``.
    """
    name = _DIMENSIONS.sub("", (printed or "").lower()).partition("(")[0].strip()
    if name.startswith(_TIME):
        name = name.partition(" ")[0]
    return TEXT if name in _FLAT_NAMES else UNKNOWN_TYPE
