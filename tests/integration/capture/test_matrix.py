"""Every way to write a row, alone, in a transaction and in savepoints: once a row, with its context."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2.extensions
import pytest
from django.db import connection, transaction

from bemi_django import bound_context, conf
from bemi_django.models import Change
from tests.support.django_writes import DJANGO
from tests.support.pipeline import Drain
from tests.support.psql_writes import PSQL
from tests.support.sqlalchemy_writes import SQLALCHEMY
from tests.support.stocked_shop import TABLES, Expected, stock_the_shop

TRUE = {"user_id": 7, "path": "/a"}
OTHER = {"user_id": 8}
#: A write of another context, before and after, in the same transaction when there is one.
NEIGHBOUR = "INSERT INTO tag (name) VALUES (CAST(gen_random_uuid() AS text))"

#: Table, primary key, operation.
Row = tuple[str, str | None, str]
#: Where each row of each table lies, by primary key; an update puts it elsewhere.
Places = dict[str, dict[str, str]]


class Undo(Exception):
    """Rolls a block back."""


@pytest.fixture
def shop(transactional_db: None) -> None:
    stock_the_shop()


# How Django writes


def autocommit(write: Callable[[], None]) -> None:
    neighbour()
    with bound_context(**TRUE):
        write()
    neighbour()


def atomic(write: Callable[[], None]) -> None:
    with transaction.atomic():
        neighbour()
        with bound_context(**TRUE):
            write()
        neighbour()


def savepoints(write: Callable[[], None]) -> None:
    with transaction.atomic(), transaction.atomic():
        neighbour()
        # The message of the same context goes with its rows, and must come again.
        for undone in (OTHER, TRUE):
            with pytest.raises(Undo), transaction.atomic():
                with transaction.atomic(), bound_context(**undone):
                    write()
                raise Undo
        with transaction.atomic(), bound_context(**TRUE):
            write()
        neighbour()


def neighbour() -> None:
    with bound_context(**OTHER), connection.cursor() as cursor:
        cursor.execute(NEIGHBOUR)


@pytest.mark.parametrize("run", [autocommit, atomic, savepoints])
@pytest.mark.parametrize(("write", "expected"), DJANGO)
def test_a_write_of_django_is_there_once_a_row_with_its_context(
    shop: None,
    drain: Drain,
    write: Callable[[], None],
    expected: Sequence[Expected],
    run: Callable[..., None],
) -> None:
    before = places()
    run(write)
    changes = between_neighbours(drain())
    assert rows(changes) == rows_expected(expected, before, places())
    assert contexts(changes) == [TRUE] * len(changes)


# How SQLAlchemy writes


def session_autocommit(write: Callable[[Any], None], session_of: Callable[..., Any]) -> None:
    with session_of(isolation_level="AUTOCOMMIT") as session:
        session_neighbour(session)
        with bound_context(**TRUE):
            write(session)
        session_neighbour(session)


def session_transaction(write: Callable[[Any], None], session_of: Callable[..., Any]) -> None:
    with session_of() as session, session.begin():
        session_neighbour(session)
        with bound_context(**TRUE):
            write(session)
        session_neighbour(session)


def session_savepoints(write: Callable[[Any], None], session_of: Callable[..., Any]) -> None:
    with session_of() as session, session.begin(), session.begin_nested():
        session_neighbour(session)
        for undone in (OTHER, TRUE):
            with pytest.raises(Undo), session.begin_nested():
                with session.begin_nested(), bound_context(**undone):
                    write(session)
                raise Undo
        with session.begin_nested(), bound_context(**TRUE):
            write(session)
        session_neighbour(session)


def session_neighbour(session: Any) -> None:
    from sqlalchemy import text

    with bound_context(**OTHER):
        session.execute(text(NEIGHBOUR))


@pytest.mark.parametrize("run", [session_autocommit, session_transaction, session_savepoints])
@pytest.mark.parametrize(("write", "expected"), SQLALCHEMY)
def test_a_write_of_sqlalchemy_is_there_once_a_row_with_its_context(
    shop: None,
    drain: Drain,
    engine: Any,
    write: Callable[..., None],
    expected: Sequence[Expected],
    run: Callable[..., None],
) -> None:
    from sqlalchemy.orm import Session

    from tests.shop import mapped

    before = places()
    run(
        lambda session: write(session, mapped),
        lambda **options: Session(engine.execution_options(**options), future=True),
    )
    changes = between_neighbours(drain())
    assert rows(changes) == rows_expected(expected, before, places())
    assert contexts(changes) == [TRUE] * len(changes)


# How psql writes

TRANSACTIONS = {
    "autocommit": "{write}",
    "transaction": "BEGIN; {write} COMMIT;",
    "savepoints": "BEGIN; SAVEPOINT a; SAVEPOINT b; {write} ROLLBACK TO b; "
    "SAVEPOINT c; {write} RELEASE a; COMMIT;",
}


@pytest.mark.parametrize("run", TRANSACTIONS.values(), ids=TRANSACTIONS.keys())
@pytest.mark.parametrize(("statement", "data", "expected"), PSQL)
def test_a_write_of_psql_is_there_once_a_row_and_attributed(
    shop: None,
    drain: Drain,
    psql: str,
    statement: str,
    data: str,
    expected: Sequence[Expected],
    run: str,
) -> None:
    before = places()
    run_psql(psql, run.format(write=f"{statement}\n{data}"))
    changes = drain()
    assert rows(changes) == rows_expected(expected, before, places())
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user::text")
        (user,) = cursor.fetchone()
    by_hand = {"db_user": user, "application_name": "by hand", "SQL": statement}
    assert [change.context for change in changes] == [by_hand] * len(changes)


def test_a_script_of_psql_may_name_its_context_for_a_transaction(shop: None, drain: Drain, psql: str) -> None:
    delete = "DELETE FROM shop_review;"
    create = "INSERT INTO shop_category (name) VALUES ('new');"
    run_psql(psql, f"""BEGIN; SET LOCAL bemi.context = '{{"ticket": 7}}'; {delete} COMMIT; {create}""")
    *deleted, created = drain()
    assert [change.context for change in deleted] == [{"ticket": 7, "SQL": delete}] * 3
    assert created.context == {
        "db_user": created.context["db_user"],
        "application_name": "by hand",
        "SQL": create,
    }


def run_psql(psql: str, script: str) -> None:
    dsn = psycopg2.extensions.make_dsn(**conf.connection_parameters("default"))
    subprocess.run(
        [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn],
        input=script,
        text=True,
        check=True,
        env={**os.environ, "PGAPPNAME": "by hand"},
    )


# What is compared


def places() -> Places:
    found: Places = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT id::text, ctid::text FROM {table}")  # noqa: S608 - names of models
            found[table] = dict(cursor.fetchall())
    return found


def rows(changes: list[Change]) -> Counter[Row]:
    return Counter((change.table, change.primary_key, change.operation) for change in changes)


def rows_expected(expected: Sequence[Expected], before: Places, after: Places) -> Counter[Row]:
    found: Counter[Row] = Counter()
    for table, operation, number in expected:
        keys = keys_of(operation, before[table], after[table])
        assert len(keys) == number, f"the write did not {operation} {number} rows of {table}"
        found.update((table, key, operation) for key in keys)
    return found


def keys_of(operation: str, before: dict[str, str], after: dict[str, str]) -> set[Any]:
    if operation == "CREATE":
        return after.keys() - before.keys()
    if operation == "DELETE":
        return before.keys() - after.keys()
    if operation == "UPDATE":
        return {key for key in before.keys() & after.keys() if before[key] != after[key]}
    assert operation == "TRUNCATE" and not after
    return {None}


def between_neighbours(changes: list[Change]) -> list[Change]:
    first, *between, last = changes
    assert (first.table, last.table) == ("tag", "tag")
    assert contexts([first, last]) == [OTHER, OTHER]
    return between


def contexts(changes: list[Change]) -> list[dict[str, Any]]:
    assert all(change.context["SQL"] for change in changes)
    return [{key: value for key, value in change.context.items() if key != "SQL"} for change in changes]
