"""Identity columns of a restored table, which go on behind the numbers that were used."""

from __future__ import annotations

from typing import Any

from psycopg2.sql import SQL, Identifier, Literal

from bemi_django.restoration.new_table import Name

_IDENTITIES = """
SELECT a.attname, pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), a.attname)
FROM pg_attribute a
WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND a.attidentity <> ''
"""
# The old sequence is further where rows were deleted. Whoever may not read it sees NULL.
_CONTINUE = SQL("""
SELECT setval(used.sequence, used.last) FROM (
    SELECT s.seqrelid::regclass AS sequence,
           CASE WHEN s.seqincrement > 0 THEN max(number) ELSE min(number) END AS last
    FROM pg_sequence s CROSS JOIN (
        SELECT _bemi_row.{column}::bigint FROM {table} _bemi_row
        UNION ALL
        SELECT q.last_value FROM pg_sequences q
        WHERE format('%I.%I', q.schemaname, q.sequencename) = {old}
    ) numbers (number)
    WHERE s.seqrelid = {new}::regclass AND number BETWEEN s.seqmin AND s.seqmax
    GROUP BY s.seqrelid, s.seqincrement
) used
""")


def continue_identities(cursor: Any, old: Name, new: Name) -> None:
    """Let the next row of a table have a number that no row has had.

    Args:
        cursor: A cursor of the source, in a transaction.
        old: The schema and the name of the table whose rows were restored.
        new: Those of the table that has them now.
    """
    former = _identities(cursor, old, new)
    for column, sequence in _identities(cursor, new, new).items():
        cursor.execute(
            _CONTINUE.format(
                column=Identifier(column),
                table=Identifier(*new),
                old=Literal(former[column]),
                new=Literal(sequence),
            )
        )


def _identities(cursor: Any, table: Name, like: Name) -> dict[str, str]:
    """Return the sequences of a table for the identity columns that another one has."""
    cursor.execute(_IDENTITIES, [*table, *like])
    return dict(cursor.fetchall())
