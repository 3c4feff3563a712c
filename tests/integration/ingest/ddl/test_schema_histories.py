"""Random histories of DDL and writes, read at random moments: every change is what its statement saw."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.support.pipeline import LoggedChange, Pipeline
from tests.support.project_database import execute
from tests.support.witness import Witness

TYPES = ["int", "text", "numeric", "timestamptz", "int[]", "lab.pair", "lab.pair[]", "lab.mood", "lab.few"]
NAMES = ["a", "b", "c", "d"]
TABLES = ["lab.t", "lab.u", "lab_2.t", "lab_2.u"]
SETUP = [
    "DROP SCHEMA IF EXISTS lab CASCADE",
    "DROP SCHEMA IF EXISTS lab_2 CASCADE",
    "CREATE SCHEMA lab",
    "CREATE SCHEMA lab_2",
    # What computes generated columns may name their types.
    "GRANT USAGE ON SCHEMA lab, lab_2 TO _bemi_compute",
    "CREATE TYPE lab.pair AS (a int, b int)",
    "CREATE TYPE lab.mood AS ENUM ('sad', 'glad')",
    "CREATE DOMAIN lab.few AS int[]",
]
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, -1) FROM pg_attribute a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""
KEY = """
    SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
        AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum)
"""
ATTRIBUTES = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = 'lab.pair'::regclass AND attnum > 0 AND NOT attisdropped
"""
MOOD = "SELECT enumlabel FROM pg_enum WHERE enumtypid = 'lab.mood'::regtype ORDER BY enumsortorder LIMIT 1"


class History:
    """What is there is asked of the catalog, so that rolling back needs no thought."""

    def __init__(self, pipeline: Pipeline, draw: Callable[[st.SearchStrategy[str]], str]) -> None:
        self._pipeline = pipeline
        self._draw = draw
        self._witness = Witness()
        self._recorded: list[LoggedChange] = []
        self._number = 0
        self._is_type_locked = False
        for statement in SETUP:
            execute(statement)
        pipeline.drain()
        self.create()

    def one_of(self, choices: list[str]) -> str:
        return self._draw(st.sampled_from(choices))

    def ddl(self, statement: str) -> None:
        """One that fails leaves no trace: it too was noticed and rolled back."""
        with suppress(DatabaseError), transaction.atomic():
            execute(statement)

    def table(self) -> str | None:
        there = [name for name in TABLES if execute("SELECT to_regclass(%s)", [name]) != [(None,)]]
        return self.one_of(there) if there else None

    def columns(self, table: str) -> dict[str, str]:
        return dict(execute(COLUMNS, [table]))

    def value(self, type_: str) -> str:
        self._number += 1
        number = self._number
        pair = "(" + ",".join([str(number)] * len(execute(ATTRIBUTES))) + ")"
        # A value that a transaction has added cannot be written before its end; the first one was not.
        ((mood,),) = execute(MOOD)
        return {
            "integer": f"{number}",
            "text": f"'{{{number}}}'",
            "numeric": f"{number}.50",
            "timestamp with time zone": f"to_timestamp({number})",
            "integer[]": f"'{{{number},NULL}}'",
            "lab.pair": f"'{pair}'",
            "lab.pair[]": f"""'{{"{pair}",NULL}}'""",
            "lab.mood": f"'{mood}'",
            "lab.few": f"'{{{number}}}'",
        }[type_]

    def create(self) -> None:
        columns = [f"{name} {self.one_of(TYPES)}" for name in NAMES[: int(self.one_of(["1", "2", "3"]))]]
        key = self.one_of(["", ", PRIMARY KEY (a)", ", PRIMARY KEY (b, a)"])
        self.ddl(f"CREATE TABLE {self.one_of(TABLES)} ({', '.join(columns)}{key})")

    def alter(self) -> None:
        table = self.table()
        if table is None:
            return
        name, other, type_ = self.one_of(NAMES), self.one_of(NAMES), self.one_of(TYPES)
        schema, base = table.split(".")
        self.ddl(
            self.one_of(
                [
                    f"ALTER TABLE {table} ADD {name} {type_}",
                    f"ALTER TABLE {table} ADD {name} text DEFAULT '{{7}}'",
                    f"ALTER TABLE {table} ADD g text GENERATED ALWAYS AS ({name}::text || '%') STORED",
                    f"ALTER TABLE {table} DROP {name} CASCADE",
                    f"ALTER TABLE {table} DROP {name} CASCADE, ADD {name} {type_}",
                    f"ALTER TABLE {table} RENAME {name} TO {other}",
                    f"ALTER TABLE {table} ALTER {name} TYPE text",
                    f"ALTER TABLE {table} ALTER {name} TYPE int[] USING {name}::text::int[]",
                    f"ALTER TABLE {table} ADD PRIMARY KEY ({name})",
                    f"ALTER TABLE {table} ADD PRIMARY KEY ({name}, {other})",
                    f"ALTER TABLE {table} DROP CONSTRAINT {base}_pkey, ADD PRIMARY KEY ({name})",
                    f"ALTER TABLE {table} DROP CONSTRAINT {base}_pkey",
                    f"ALTER TABLE {table} RENAME TO {'u' if base == 't' else 't'}",
                    f"ALTER TABLE {table} SET SCHEMA {'lab_2' if schema == 'lab' else 'lab'}",
                    f"DROP TABLE {table}",
                ]
            )
        )

    def alter_type(self) -> None:
        self._is_type_locked = connection.in_atomic_block
        name, other = self.one_of(NAMES), self.one_of(NAMES)
        self.ddl(
            self.one_of(
                [
                    f"ALTER TYPE lab.pair ADD ATTRIBUTE {name} int",
                    f"ALTER TYPE lab.pair DROP ATTRIBUTE {name}",
                    f"ALTER TYPE lab.pair RENAME ATTRIBUTE {name} TO {other}",
                    "ALTER TYPE lab.mood RENAME VALUE 'sad' TO 'blue'",
                    "ALTER TYPE lab.mood RENAME VALUE 'blue' TO 'sad'",
                    "ALTER TYPE lab.mood ADD VALUE IF NOT EXISTS 'mad'",
                ]
            )
        )

    def write(self) -> None:
        table = self.table()
        if table is None:
            return
        self._witness.keys[table] = [name for (name,) in execute(KEY, [table])]
        columns = self.columns(table)
        row = {name: self.value(type_) for name, type_ in columns.items()}
        kind = self.one_of(["insert", "insert", "update", "update", "delete"])
        places = [place for (place,) in execute(f"SELECT ctid::text FROM {table} ORDER BY ctid")]  # noqa: S608
        with suppress(DatabaseError), transaction.atomic():
            if kind == "insert":
                names = ", ".join(row)
                self._witness.insert(f"{table}", ", ".join(row.values()), columns=names)
            elif places and row:
                place = f"ctid = '{self.one_of(places)}'"
                if kind == "delete":
                    self._witness.delete(table, place)
                else:
                    changed = [self.one_of(list(row)), self.one_of(list(row))]
                    pairs = ", ".join(f"{name} = {row[name]}" for name in dict.fromkeys(changed))
                    self._witness.update(table, pairs, place)

    def drain(self) -> None:
        # The server sends no row of a composite type while a transaction that has altered it is open.
        if not self._is_type_locked:
            self._recorded += self._pipeline.drain()

    def stop(self) -> None:
        self._pipeline.stop()

    def run(self, steps: int) -> None:
        actions = {
            "write": self.write,
            "alter": self.alter,
            "alter type": self.alter_type,
            "create": self.create,
            "drain": self.drain,
            "stop": self.stop,
        }
        often = ["write"] * 5 + ["alter"] * 3 + ["alter type", "create", "drain", "stop"]
        for _ in range(steps):
            actions[self.one_of(often)]()

    def run_in_transaction(self, steps: int) -> None:
        is_kept = self.one_of(["kept", "kept", "rolled back"]) == "kept"
        before = len(self._witness.expected)
        with transaction.atomic():
            self.run(steps)
            transaction.set_rollback(not is_kept)
        self._is_type_locked = False
        if not is_kept:
            del self._witness.expected[before:]

    def check(self) -> None:
        self.drain()
        assert self._recorded == self._witness.expected


def test_any_history_of_ddl_and_writes_is_recorded_as_it_was(pipeline: Pipeline) -> None:
    @examples(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        history = History(pipeline, data.draw)
        for _ in range(data.draw(st.integers(1, 4))):
            steps = data.draw(st.integers(1, 8))
            if data.draw(st.booleans()):
                history.run(steps)
            else:
                history.run_in_transaction(steps)
        history.check()

    check()
