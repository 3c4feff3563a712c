# ruff: noqa: S608 - the SQL of tests
"""Statements together with the changes that the log must have of them."""

from __future__ import annotations

from tests.support.pipeline import LoggedChange
from tests.support.project_database import execute


class Witness:
    """Writes rows and expects the change of each: with what ``to_jsonb`` gives at that moment.

    ``keys`` maps a table, by the name that rows are written to, to the quoted columns of its key.
    """

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.expected: list[LoggedChange] = []

    def insert(self, table: str, values: str, *, columns: str = "", under: str | None = None) -> None:
        """Insert one row; *under* is the root of the partition that is written to."""
        named = f"({columns}) " if columns else ""
        source = f"VALUES ({values})" if values else "DEFAULT VALUES"
        ((key, row),) = execute(f"INSERT INTO {table} AS t {named}{source} RETURNING {self._row(table)}")
        self._expect("CREATE", under, table, key, None, "{}", row)

    def update(self, table: str, assignments: str, where: str = "true", *, under: str | None = None) -> None:
        ((old_key, old),) = execute(f"SELECT {self._row(table)} FROM {table} t WHERE {where}")
        ((key, row),) = execute(
            f"UPDATE {table} AS t SET {assignments} WHERE {where} RETURNING {self._row(table)}"
        )
        self._expect("UPDATE", under, table, key, old_key if old_key != key else None, old, row)

    def delete(self, table: str, where: str = "true", *, under: str | None = None) -> None:
        ((key, row),) = execute(f"DELETE FROM {table} AS t WHERE {where} RETURNING {self._row(table)}")
        self._expect("DELETE", under, table, key, None, row, "{}")

    def _row(self, table: str) -> str:
        columns = [f"t.{column}" for column in self.keys.get(table, [])]
        # format() prints as the stream does, which a cast to text does not for every type.
        key = f"format('%s', {columns[0]})" if columns else "NULL"
        if len(columns) > 1:
            key = f"jsonb_build_array({', '.join(columns)})::text"
        return f"{key}, to_jsonb(t)::text"

    def _expect(
        self,
        operation: str,
        under: str | None,
        written: str,
        key: str | None,
        previous: str | None,
        before: str,
        after: str,
    ) -> None:
        schema, table = (under or written).split(".")
        partition = written if under else None
        self.expected.append(LoggedChange(operation, schema, table, partition, key, previous, before, after))
