"""What only the source's server knows: descriptions of tables, generated columns, casts to json."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Identifier

from bemi_django.exceptions import NotInstalled
from bemi_django.wal import description, rows, values
from bemi_django.wal.description import Description
from bemi_django.wal.messages import Relation

_HOME = """
SELECT n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = '_bemi_describe_v1' ORDER BY p.oid LIMIT 1
"""
_VERSIONS = """
SELECT since - '0/0', description FROM {}._bemi_relations WHERE relation = %s ORDER BY since
"""


def home_of(connection: Any) -> Identifier:
    """The schema of our objects. Raises NotInstalled before ``migrate``."""
    with connection.cursor() as cursor:
        cursor.execute(_HOME)
        found = cursor.fetchone()
    if found is None:
        raise NotInstalled
    return Identifier(found[0])


class Catalog:
    """Reads over one connection to the source, as :meth:`Job.connect_source` makes it."""

    def __init__(self, connection: Any, database: str) -> None:
        self._connection = connection
        self._database = database
        self._home = home_of(connection)
        self._cast = lru_cache(maxsize=1024)(self._ask_cast)

    def shape(self, relation: Relation, lsn: int) -> rows.Shape:
        """How rows of the relation are written that were committed at ``lsn``."""
        described = self._describe(relation, lsn)
        names = [column.name for column in relation.columns]
        encoders = [
            values.encoder(column.type_oid, described.types, self._cast) for column in relation.columns
        ]
        schema, table = described.root or (relation.schema, relation.name)
        return rows.Shape(
            rows.head(self._database, schema, table),
            tuple(names),
            tuple(rows.label(name) for name in names),
            tuple(encoders),
            tuple(names.index(name) for name in described.key),
            f"{relation.schema}.{relation.name}" if (schema, table) != relation[1:3] else None,
            self._computed(relation, [column for column in described.generated if column.name not in names]),
        )

    def _describe(self, relation: Relation, lsn: int) -> Description:
        versions = [
            (int(since), description.parse(stored))
            for since, stored in self._rows(SQL(_VERSIONS).format(self._home), [relation.oid])
        ]
        described = description.choose(versions, relation, lsn)
        if described is None:
            query = SQL("SELECT {}._bemi_describe_v1(%s)").format(self._home)
            described = description.parse(self._rows(query, [relation.oid])[0][0])
        if not described.fits(relation):
            described = described._replace(key=())
        return described

    def _computed(self, relation: Relation, columns: list[description.Generated]) -> rows.Computed | None:
        if not columns:
            return None
        # The expressions are the catalog's own text.
        pairs = [
            SQL("%s::text, to_jsonb({})").format(SQL(column.expression.replace("%", "%%")))
            for column in columns
        ]
        query = SQL(
            "SELECT jsonb_build_object({})::text FROM jsonb_populate_record(NULL::{}, %s::jsonb)"
        ).format(SQL(", ").join(pairs), Identifier(relation.schema, relation.name))
        names = tuple(column.name for column in columns)
        return rows.Computed(names, lambda row: self._render(query, [*names, row.decode()]))

    def _ask_cast(self, name: str, value: bytes) -> bytes:
        # The name is quoted where it was made.
        return self._render(SQL("SELECT to_jsonb(%s::text::{})::text").format(SQL(name)), [value.decode()])

    def _render(self, query: Any, parameters: list[Any]) -> bytes:
        try:
            rendered: str = self._rows(query, parameters)[0][0]
        except (psycopg2.DataError, psycopg2.ProgrammingError) as error:
            # The type or the table is another one by now, or gone.
            raise ValueError(error.diag.message_primary) from error
        return rendered.encode()

    def _rows(self, query: Any, parameters: list[Any]) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())
