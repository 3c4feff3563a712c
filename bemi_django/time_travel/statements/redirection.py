"""Redirect tables that a statement names together with their schema; search_path covers the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from bemi_django.exceptions import HistoryError
from bemi_django.schema.sql import quote
from bemi_django.time_travel.statements.hidden_columns import by_table, misused
from bemi_django.time_travel.statements.present_tables import qualified
from bemi_django.time_travel.statements.sql_tokens import Kind, Token, tokens_of

_WRITES = frozenset(("insert", "update", "delete", "merge", "truncate"))
# What stands after one of these words is a table. After a sign, such as the comma of a list, it may be one.
_BEFORE_TABLE = frozenset(("from", "join", "only", "table", ""))


def no_past(names: Collection[str]) -> str:
    """Return the message that tables, as ``schema.table``, have no view of the past."""
    return (
        f"{', '.join(names)} have no view of the past, because they came unnoticed: run 'manage.py bemi sync'"
    )


class Redirection:
    """Replaces schemas by the schemas of the past, in qualified names of tables."""

    def __init__(
        self,
        tables: Collection[tuple[str, str]],
        schemas: Mapping[str, str],
        database: str,
        *,
        standard_strings: bool = True,
        present: Mapping[str, str] | None = None,
        unnoticed: Collection[tuple[str, str]] = (),
        came_since: Callable[[str, str], bool] = lambda schema, name: False,
    ) -> None:
        """Prepare to redirect.

        Args:
            tables: Pairs of schema and name.
            schemas: For each schema, the schema that has its views of the past.
            database: The name of the database, which may precede a schema.
            standard_strings: The setting ``standard_conforming_strings``.
            present: The schema of each table that is shown as it is now; none of ``tables`` is one of these.
            unnoticed: Pairs of schema and name that have no view of the past: statements may not name them.
            came_since: Tells whether a table that is none of these has a view of the past by now.
        """
        self._present = present or {}
        self._tables = frozenset(tables)
        self._schemas = schemas
        self._database = database
        self._standard_strings = standard_strings
        self._unnoticed = frozenset(unnoticed)
        self._came_since = came_since
        # Of schemas whose tables all stay in the present, others may come.
        written = {*schemas, *(schema for schema, _ in self._tables | self._unnoticed)}
        self._written = {schema.replace('"', '""').encode().lower() for schema in written}

    def of(self, sql: str, *, is_template: bool = False) -> str:
        """Return the statement with the schemas of the past instead of the present ones.

        Tables that stay in the present get their schema, so that the search path does not lead to the past.

        Args:
            sql: The statement.
            is_template: Whether the driver puts parameters into it, so that percent signs are doubled.

        Raises:
            HistoryError: It names a table that came unnoticed.
        """
        if self._present:
            sql = qualified(
                sql, self._present, standard_strings=self._standard_strings, is_template=is_template
            )
        # Most statements name no schema. bytes.lower() changes ASCII only, as PostgreSQL does.
        written = sql.replace("%%", "%") if is_template else sql
        lowered = written.encode(errors="surrogatepass").lower()
        if b'u&"' not in lowered and not any(schema in lowered for schema in self._written):
            return sql
        parts: list[str] = []
        end = 0
        tokens = tokens_of(sql, standard_strings=self._standard_strings, is_template=is_template)
        for name, before in _qualified_names(tokens):
            schema = self._schema_in(name, is_table=before in _BEFORE_TABLE)
            if schema is not None:
                past = quote(self._schemas[schema.name])
                parts += [sql[end : schema.start], past.replace("%", "%%") if is_template else past]
                end = schema.end
        return "".join([*parts, sql[end:]])

    def is_write(self, sql: str) -> bool:
        """Tell whether a statement begins with a word that writes rows."""
        tokens = tokens_of(sql, standard_strings=self._standard_strings)
        first = next((token for token in tokens if token.kind is not Kind.BLANK), None)
        return first is not None and sql[first.start : first.end].lower() in _WRITES

    def check(self, sql: str, hidden: dict[str, list[str]], *, is_template: bool = False) -> None:
        """Check that a statement only reads the columns whose values are not known.

        Args:
            sql: The statement.
            hidden: The columns, by ``schema.table``.
            is_template: As in :meth:`of`.

        Raises:
            HistoryError: It chooses or sorts rows by one of them.
        """
        if not hidden:
            return
        tables = {table for _, table in self._tables}
        column = misused(
            sql,
            by_table(hidden),
            tables,
            standard_strings=self._standard_strings,
            is_template=is_template,
        )
        if column is not None:
            raise HistoryError(
                f"the log does not have the values of {column}: rows of the past can be neither chosen nor "
                "sorted by it"
            )

    def of_past(self, hidden: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return columns, by ``schema.table``, without those of tables that stay in the present."""
        return {
            name: columns for name, columns in hidden.items() if name.rpartition(".")[2] not in self._present
        }

    def _schema_in(self, name: Sequence[Token], *, is_table: bool) -> Token | None:
        """Return the token of the schema, if the name is one of the tables or of its columns."""
        names = [token.name for token in name]
        for first in (0, 1) if names[0] == self._database else (0,):
            table = tuple(names[first : first + 2])
            if table in self._tables:
                return name[first]
            if table in self._unnoticed:
                raise HistoryError(no_past([".".join(table)]))
            if is_table and len(table) == 2 and self._has_come(*table):
                return name[first]
        return None

    def _has_come(self, schema: str, name: str) -> bool:
        # Tables of the present keep their schema.
        return (
            schema in self._schemas and self._present.get(name) != schema and self._came_since(schema, name)
        )


def _qualified_names(tokens: Iterator[Token]) -> Iterator[tuple[list[Token], str]]:
    """Yield names with dots between them, as lists of their parts, with the name before them, or ''."""
    parts: list[Token] = []
    is_after_dot = False
    before = ""
    for token in tokens:
        if token.kind is Kind.BLANK:
            continue
        if token.kind is Kind.DOT:
            # A dot that follows no name belongs to what precedes it: (row).column.
            is_after_dot = True
            continue
        if token.kind is Kind.NAME and is_after_dot:
            if parts:
                parts.append(token)
        else:
            if len(parts) > 1:
                yield parts, before
            before = parts[-1].name if parts else ""
            parts = [token] if token.kind is Kind.NAME else []
        is_after_dot = False
    if len(parts) > 1:
        yield parts, before
