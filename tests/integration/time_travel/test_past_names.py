# ruff: noqa: S608 - the SQL of tests
"""Names of columns that other columns have had: each column has its own past, whatever it was called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bemi_django.exceptions import HistoryError
from bemi_django.schema import tracking
from bemi_django.time_travel import as_of
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.server_conditions import no_event_triggers, sync_as_migrator
from tests.support.travel import here, settled

AMBIGUOUS = "columns of public.tool have exchanged their names"
EXCHANGE = "ALTER TABLE tool RENAME a TO c; ALTER TABLE tool RENAME b TO a; ALTER TABLE tool RENAME c TO b"


@pytest.fixture
def tool(drain: Drain) -> Iterator[Drain]:
    execute("CREATE TABLE tool (id int PRIMARY KEY, a int, b int)")
    execute("INSERT INTO tool VALUES (1, 10, 20), (2, 30, 40)")
    with settled:
        yield drain
    execute("DROP TABLE tool")
    tracking.sync()


def test_columns_that_exchanged_their_names_have_their_own_values(tool: Drain) -> None:
    before = here()
    execute("UPDATE tool SET a = 11 WHERE id = 1")
    between = here()
    execute(EXCHANGE)
    execute("UPDATE tool SET a = 21 WHERE id = 1")
    tool()
    with as_of(before):
        assert execute("SELECT id, b, a FROM tool ORDER BY id") == [(1, 10, 20), (2, 30, 40)]
    with as_of(between):
        assert execute("SELECT id, b, a FROM tool ORDER BY id") == [(1, 11, 20), (2, 30, 40)]


def test_a_column_that_takes_over_the_name_of_a_dropped_one_has_not_its_values(tool: Drain) -> None:
    before = here()
    execute("UPDATE tool SET b = 21 WHERE id = 1")
    execute("ALTER TABLE tool DROP COLUMN a, ADD COLUMN a text DEFAULT 'new'")
    execute("UPDATE tool SET a = 'x' WHERE id = 1")
    tool()
    with as_of(before):
        assert execute("SELECT id, b, a FROM tool ORDER BY id") == [(1, 20, "new"), (2, 40, "new")]


def test_rows_of_the_transaction_that_altered_are_told_apart_by_their_columns(tool: Drain) -> None:
    before = here()
    with transaction.atomic():
        execute("ALTER TABLE tool ADD COLUMN c text; UPDATE tool SET c = a || '!'")
        execute("ALTER TABLE tool DROP COLUMN a; ALTER TABLE tool RENAME c TO a")
        execute("UPDATE tool SET b = 0 WHERE id = 2")
        execute(
            "INSERT INTO tool VALUES (3, 0, 'x'); ALTER TABLE tool ADD COLUMN d int; UPDATE tool SET d = 1"
        )
    after = here()
    execute("UPDATE tool SET a = 'later'")
    tool()
    with as_of(before):
        assert execute("SELECT id, b, a FROM tool ORDER BY id") == [(1, 20, None), (2, 40, None)]
    with as_of(after):
        assert execute("SELECT * FROM tool ORDER BY id") == [
            (1, 20, "10!", 1),
            (2, 0, "30!", 1),
            (3, 0, "x", 1),
        ]


def test_what_cannot_be_told_is_refused_if_it_is_read(tool: Drain) -> None:
    before = here()
    with transaction.atomic():
        execute("UPDATE tool SET a = 11 WHERE id = 1")
        execute(EXCHANGE)
    tool()
    with as_of(before):
        assert execute("SELECT id FROM tool ORDER BY id") == [(1,), (2,)]
        assert execute("SELECT b FROM tool WHERE id = 2") == [(30,)]
        with pytest.raises(HistoryError, match=AMBIGUOUS):
            execute("SELECT b FROM tool")


def test_without_event_triggers_nobody_knows_when_names_were_exchanged(tool: Drain) -> None:
    before = here()
    with no_event_triggers():
        execute("UPDATE tool SET a = 11 WHERE id = 1")
        execute(EXCHANGE)
        sync_as_migrator()
    since = here()
    execute("UPDATE tool SET a = 0")
    tool()
    with as_of(since):
        assert execute("SELECT id, b, a FROM tool ORDER BY id") == [(1, 11, 20), (2, 30, 40)]
    with as_of(before), pytest.raises(HistoryError, match=AMBIGUOUS):
        execute("SELECT b FROM tool")


NAMES = ("a", "b", "c", "d")
name = st.sampled_from(NAMES)
write = st.one_of(
    st.tuples(st.just("update"), st.integers(1, 3), name),
    st.tuples(st.just("insert"), st.integers(1, 3)),
    st.tuples(st.just("delete"), st.integers(1, 3)),
)
alteration = st.one_of(
    st.tuples(st.just("add"), name, st.sampled_from(["int", "text", "int DEFAULT 7"])),
    st.tuples(st.just("drop"), name),
    st.tuples(st.just("rename"), name, name),
    st.tuples(st.just("exchange"), name, name),
)
lives = st.lists(
    st.one_of(
        st.lists(write, min_size=1, max_size=3), st.lists(alteration, min_size=1, max_size=2),
        st.lists(st.one_of(write, alteration), min_size=2, max_size=4),
    ),
    min_size=3, max_size=9,
)  # fmt: skip


class Life:
    """A table whose columns are altered, with what it was after each transaction."""

    def __init__(self) -> None:
        self.value = 100
        self.first: dict[int, Any] = {}

    def columns(self) -> dict[str, int]:
        return dict(
            execute(
                "SELECT attname, attnum FROM pg_attribute "
                "WHERE attrelid = 'life'::regclass AND attnum > 1 AND NOT attisdropped"
            )
        )

    def rows(self) -> dict[int, dict[int, Any]]:
        columns = self.columns()
        found = execute(f"SELECT {', '.join(['id', *columns])} FROM life")
        return {row[0]: dict(zip(columns.values(), row[1:], strict=True)) for row in found}

    def take(self, what: str, *given: Any) -> None:
        columns = self.columns()
        self.value += 1
        if what == "insert":
            values = [given[0], *(f"'{self.value}{number}'" for number in columns.values())]
            named = ", ".join(["id", *columns])
            execute(
                f"INSERT INTO life ({named}) VALUES ({', '.join(map(str, values))}) ON CONFLICT DO NOTHING"
            )
        elif what == "delete":
            execute(f"DELETE FROM life WHERE id = {given[0]}")
        elif what == "update" and given[1] in columns:
            execute(f"UPDATE life SET {given[1]} = '{self.value}' WHERE id = {given[0]}")
        elif what == "add" and given[0] not in columns:
            execute(f"ALTER TABLE life ADD COLUMN {given[0]} {given[1]}")
            self.first[self.columns()[given[0]]] = 7 if "DEFAULT" in given[1] else None
        elif what == "drop" and given[0] in columns:
            execute(f"ALTER TABLE life DROP COLUMN {given[0]}")
        elif what == "rename" and given[0] in columns and given[1] not in columns:
            execute(f"ALTER TABLE life RENAME {given[0]} TO {given[1]}")
        elif what == "exchange" and given[0] != given[1] and {given[0], given[1]} <= columns.keys():
            for old, new in ((given[0], "x"), (given[1], given[0]), ("x", given[1])):
                execute(f"ALTER TABLE life RENAME {old} TO {new}")


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions=lives)
def test_the_past_of_a_column_is_its_own(drain: Drain, transactions: list[list[Any]]) -> None:
    execute("DROP TABLE IF EXISTS life")
    execute("CREATE TABLE life (id int PRIMARY KEY, a int, b int)")
    life = Life()
    states = [(here(), life.rows(), False)]
    for steps in transactions:
        with transaction.atomic():
            for step in steps:
                life.take(*step)
        kinds = {step[0] in ("insert", "update", "delete") for step in steps}
        states.append((here(), life.rows(), len(kinds) == 2))
    drain()
    columns = life.columns()
    for place, (moment, rows, _) in enumerate(states):
        with settled, as_of(moment):
            assert execute("SELECT id FROM life ORDER BY id") == [(key,) for key in sorted(rows)]
            for column, number in columns.items():
                try:
                    found = dict(execute(f"SELECT id, {column} FROM life"))
                except HistoryError as error:
                    assert "have exchanged their names" in str(error)
                    assert any(is_mixed for *_, is_mixed in states[place + 1 :])
                    break
                assert found == {key: row.get(number, life.first.get(number)) for key, row in rows.items()}
    execute("DROP TABLE life")
