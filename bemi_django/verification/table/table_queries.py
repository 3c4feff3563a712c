"""SQL that reads the rows of one table as the log prints them."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2.sql import SQL, Composable, Identifier, Literal

from bemi_django.verification.table.compared_table import ComparedTable, Leaf

_SLICE = SQL(
    '({slices} OPERATOR(pg_catalog.=) 1 OR ((pg_catalog.hashtextextended({text} COLLATE "C", 0) '
    "OPERATOR(pg_catalog.&) 9223372036854775807) OPERATOR(pg_catalog.%) {slices}) "
    "OPERATOR(pg_catalog.=) {slice})"
)
#: The columns that two rows, ``logged`` and ``found``, have and print differently.
_UNLIKE = SQL("""
    SELECT name FROM pg_catalog.jsonb_object_keys(logged) name
    WHERE pg_catalog.jsonb_exists(found, name) AND pg_catalog.textne(
        pg_catalog.jsonb_object_field(logged, name)::text, pg_catalog.jsonb_object_field(found, name)::text)
""")


class Slice:
    """A part of the rows, chosen by a hash: the one with a number, of so many."""

    def __init__(self, number: int = 0, of: int = 1) -> None:
        self.number, self.of = number % of, of

    def holds(self, text: Composable) -> Composable:
        """Return a condition on the text of a key or of a row."""
        return _SLICE.format(text=text, slices=Literal(self.of), slice=Literal(self.number))


def keys_in_blocks(table: ComparedTable, leaf: Leaf, first: int, last: int, part: Slice) -> Composable:
    """Return a query for (key, lower 32 bits of xmin) of the rows in blocks from first to before last."""
    return SQL(
        "SELECT {key}, _bemi_row.xmin::pg_catalog.text::pg_catalog.int8 FROM {rows} _bemi_row "
        "WHERE _bemi_row.ctid OPERATOR(pg_catalog.>=) '({first},0)'::pg_catalog.tid "
        "AND _bemi_row.ctid OPERATOR(pg_catalog.<) '({last},0)'::pg_catalog.tid AND {is_chosen}"
    ).format(
        key=_key(table),
        rows=leaf.rows,
        first=Literal(first),
        last=Literal(last),
        is_chosen=part.holds(_key(table)),
    )


def rows_with_keys(table: ComparedTable, keys: Sequence[str], *, is_whole: bool) -> Composable:
    """Return a query for (key, xmin, oid of the leaf, image, digest of the image, its length) of rows.

    The image is NULL unless ``is_whole``.
    """
    image = SQL("_bemi_read.image::pg_catalog.text")
    return SQL(
        "SELECT key, xmin, leaf, {whole}, {digest}, pg_catalog.length({image}) FROM ("
        "SELECT {key} AS key, _bemi_row.xmin::pg_catalog.text::pg_catalog.int8 AS xmin, "
        "_bemi_row.tableoid::pg_catalog.int8 AS leaf, pg_catalog.to_jsonb(_bemi_row.*) AS image "
        "FROM {wanted} JOIN {rows} _bemi_row ON {matches} OFFSET 0) _bemi_read"
    ).format(
        whole=image if is_whole else SQL("NULL::pg_catalog.text"),
        digest=_digest(image),
        image=image,
        key=_key(table),
        wanted=_wanted(table, keys),
        rows=table.rows,
        matches=_matches(table),
    )


def row_without(table: ComparedTable, key: str, columns: Sequence[str]) -> Composable:
    """Return a query for (key, xmin, oid of the leaf, image without some columns) of the row with a key."""
    pairs = [
        SQL("{}, pg_catalog.to_jsonb(_bemi_row.{})").format(Literal(name), Identifier(name))
        for name in table.columns
        if name not in columns
    ]
    return SQL(
        "SELECT {key}, _bemi_row.xmin::pg_catalog.text::pg_catalog.int8, "
        "_bemi_row.tableoid::pg_catalog.int8, ({image})::pg_catalog.text "
        "FROM {wanted} JOIN {rows} _bemi_row ON {matches}"
    ).format(
        key=_key(table),
        image=_object(pairs),
        wanted=_wanted(table, [key]),
        rows=table.rows,
        matches=_matches(table),
    )


def column_of_row(table: ComparedTable, key: str, column: str) -> Composable:
    """Return a query that renders one column of the row with a key."""
    return SQL("SELECT pg_catalog.to_jsonb(_bemi_row.{}) FROM {} JOIN {} _bemi_row ON {}").format(
        Identifier(column), _wanted(table, [key]), table.rows, _matches(table)
    )


def column_of_all(table: ComparedTable, column: str) -> Composable:
    """Return a query that renders one column of all rows."""
    counts = SQL("SELECT pg_catalog.count(pg_catalog.to_jsonb(_bemi_row.{})) FROM {} _bemi_row")
    return SQL(" UNION ALL ").join(counts.format(Identifier(column), rows) for rows in table.own_rows)


def rows_by_image(table: ComparedTable, ignored: Sequence[str], tells: Composable) -> Composable:
    """Return a query for (digest of a row, how many there are, how many are older, how many are explained).

    Args:
        table: The table.
        ignored: Columns that are left out.
        tells: An expression for 0, 1 if the row is older than the log, or 2 if DDL has written it.
    """
    pairs = [
        SQL("{}, pg_catalog.to_jsonb(_bemi_row.{})").format(Literal(name), Identifier(name))
        for name in table.columns
        if name not in ignored
    ]
    image = SQL("image::pg_catalog.text")
    return SQL(
        "SELECT pg_catalog.encode({digest}, 'hex') COLLATE \"C\", pg_catalog.count(*), "
        "pg_catalog.count(*) FILTER (WHERE origin OPERATOR(pg_catalog.=) 1), "
        "pg_catalog.count(*) FILTER (WHERE origin OPERATOR(pg_catalog.=) 2) "
        "FROM ({rows} OFFSET 0) _bemi_read GROUP BY 1 ORDER BY 1"
    ).format(
        digest=_digest(image),
        rows=SQL(" UNION ALL ").join(
            SQL("SELECT {object} AS image, {tells} AS origin FROM {rows} _bemi_row").format(
                object=_object(pairs) if ignored else SQL("pg_catalog.to_jsonb(_bemi_row.*)"),
                tells=tells,
                rows=rows,
            )
            for rows in table.own_rows
        ),
    )


def differing_columns(table: ComparedTable, pairs: Sequence[tuple[str, str]]) -> Composable:
    """Return a query for (columns whose values differ) of each pair of rows, in order.

    Args:
        table: The table.
        pairs: A row of the log, which is read with the table's present types, and one of the table, as JSON.
            Columns that only one of them has are not compared.
    """
    logged, found = ([pair[side] for pair in pairs] for side in (0, 1))
    # Only columns that are printed differently are read: JSON cannot be read as each type, such as hstore.
    # Those with a domain come from the table where the log lacks them, because it need not allow NULL.
    return SQL("""
        SELECT ARRAY(
            SELECT name FROM pg_catalog.unnest(unlike) name WHERE pg_catalog.textne(
                pg_catalog.jsonb_object_field(converted, name)::text,
                pg_catalog.jsonb_object_field(found, name)::text))
        FROM (
            SELECT found, unlike, n, CASE WHEN pg_catalog.cardinality(unlike) OPERATOR(pg_catalog.>) 0 THEN
                pg_catalog.to_jsonb(pg_catalog.jsonb_populate_record(NULL::{table}, (
                    SELECT pg_catalog.jsonb_object_agg(field.key, field.value)
                    FROM pg_catalog.jsonb_each(found OPERATOR(pg_catalog.||) logged) field
                    WHERE field.key OPERATOR(pg_catalog.=) ANY (
                        pg_catalog.array_cat(unlike, domains.names))))) END AS converted
            FROM (
                SELECT logged, found, n, ARRAY({unlike}) AS unlike
                FROM unnest({logged}::jsonb[], {found}::jsonb[])
                    WITH ORDINALITY pair (logged, found, n)
                OFFSET 0
            ) pair, (
                SELECT ARRAY(
                    SELECT a.attname::text FROM pg_catalog.pg_attribute a
                    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
                    WHERE a.attrelid OPERATOR(pg_catalog.=) {oid}
                        AND t.typtype OPERATOR(pg_catalog.=) 'd'::"char") AS names
            ) domains OFFSET 0
        ) read ORDER BY n
    """).format(
        table=Identifier(table.schema, table.name),
        unlike=_UNLIKE,
        logged=Literal(logged),
        found=Literal(found),
        oid=Literal(table.oid),
    )


def unlike_columns(logged: str, found: str) -> Composable:
    """Return the same for one pair whose values are compared as they are printed."""
    return SQL("SELECT ARRAY({}) FROM (SELECT {}::jsonb AS logged, {}::jsonb AS found) pair").format(
        _UNLIKE, Literal(logged), Literal(found)
    )


def _digest(text: Composable) -> Composable:
    return SQL("pg_catalog.sha256(pg_catalog.convert_to({}, 'UTF8'))").format(text)


def _object(pairs: Sequence[Composable]) -> Composable:
    """Return a jsonb object, in parts because a function has at most 100 arguments."""
    parts = [
        SQL("pg_catalog.jsonb_build_object({})").format(SQL(", ").join(pairs[start : start + 50]))
        for start in range(0, len(pairs), 50)
    ]
    return SQL(" OPERATOR(pg_catalog.||) ").join(parts) if parts else SQL("'{}'::pg_catalog.jsonb")


def _key(table: ComparedTable) -> Composable:
    # format() prints as the stream does, which a cast to text does not for every type.
    if len(table.key) == 1:
        return SQL("pg_catalog.format('%s', _bemi_row.{})").format(Identifier(table.key[0].name))
    parts = SQL(", ', ', ").join(
        SQL("coalesce(pg_catalog.to_jsonb(_bemi_row.{})::text, 'null')").format(Identifier(column.name))
        for column in table.key
    )
    return SQL("pg_catalog.concat('[', {}, ']')").format(parts)


def _wanted(table: ComparedTable, keys: Sequence[str]) -> Composable:
    """Return the FROM item of the wanted keys, as columns of the types of the key."""
    if len(table.key) == 1:
        (column,) = table.key
        return SQL(
            "(SELECT _bemi_text::{} AS k0 FROM pg_catalog.unnest({}::pg_catalog.text[]) _bemi_text OFFSET 0) "
            "_bemi_wanted"
        ).format(SQL(column.type), Literal(list(keys)))
    names = [f"k{number}" for number in range(len(table.key))]
    pairs = SQL(", ").join(
        SQL("{}, pg_catalog.jsonb_array_element(_bemi_text::pg_catalog.jsonb, {})").format(
            Literal(name), Literal(number)
        )
        for number, name in enumerate(names)
    )
    types = SQL(", ").join(
        SQL("{} {}").format(Identifier(name), SQL(column.type))
        for name, column in zip(names, table.key, strict=True)
    )
    return SQL(
        "pg_catalog.unnest({}::pg_catalog.text[]) _bemi_text CROSS JOIN LATERAL "
        "pg_catalog.jsonb_to_record(pg_catalog.jsonb_build_object({})) _bemi_wanted ({})"
    ).format(Literal(list(keys)), pairs, types)


def _matches(table: ComparedTable) -> Composable:
    # In a key, a null is that of JSON.
    return SQL(" AND ").join(
        SQL(
            "_bemi_row.{}::{} {} coalesce(_bemi_wanted.{}, 'null')"
            if column.type == "jsonb"
            else "_bemi_row.{}::{} {} _bemi_wanted.{}"
        ).format(Identifier(column.name), SQL(column.type), SQL(column.equals), Identifier(f"k{number}"))
        for number, column in enumerate(table.key)
    )
