"""Sessions and connections of SQLAlchemy record events as Django's do."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bemi_django import bound_context, conf, skip_tracking
from bemi_django.exceptions import BemiError
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.paths import ROOT
from tests.support.pipeline import Drain

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Table, Text, text  # noqa: E402
from sqlalchemy.exc import DBAPIError  # noqa: E402
from sqlalchemy.orm import Session, registry  # noqa: E402

from bemi_django.events import emission  # noqa: E402
from bemi_django.integrations import sqlalchemy_events  # noqa: E402
from bemi_django.integrations.sqlalchemy_events import arecord, record  # noqa: E402

IS_2 = not sqlalchemy.__version__.startswith("1.")
HAS_PSYCOPG = IS_2 and importlib.util.find_spec("psycopg") is not None

_registry = registry()
_todos = Table(
    "todo",
    _registry.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("task", Text),
    Column("is_completed", Boolean, default=False),
    Column("created_at", sqlalchemy.DateTime(timezone=True), default=sqlalchemy.func.now()),
)
_notes = Table("todo_note", _registry.metadata, Column("todo_id", ForeignKey("todo.id"), primary_key=True))


class Task:
    id: Any

    def __init__(self, task: str) -> None:
        self.task = task


class TaskNote:
    todo_id: Any


_registry.map_imperatively(Task, _todos)
_registry.map_imperatively(TaskNote, _notes)


@pytest.fixture
def session(engine: Any) -> Any:
    with Session(engine, future=True) as session:
        yield session


@pytest.fixture
def task(drain: Drain, session: Any) -> Task:
    task = Task("Sleep")
    session.add(task)
    session.commit()
    drain()
    return task


def brief(changes: list[Change]) -> list[tuple[str, str, str | None, Any]]:
    return [(one.operation, one.table, one.primary_key, one.context.get("event")) for one in changes]


def test_an_event_has_its_place_among_the_rows(drain: Drain, session: Any) -> None:
    with bound_context(user_id=7):
        first, second = Task("a"), Task("b")
        session.add(first)
        session.flush()
        record(session, "approved", first, to="a@example.com", copies=2)
        session.add(second)
        # The session is flushed first.
        record(session, "deployed")
        session.commit()
    changes = drain()
    assert brief(changes) == [
        ("CREATE", "todo", str(first.id), None),
        ("EVENT", "todo", str(first.id), "approved"),
        ("CREATE", "todo", str(second.id), None),
        ("EVENT", "events", None, "deployed"),
    ]
    assert len({one.transaction_id for one in changes}) == 1
    assert changes[1].schema == "public" and changes[1].object == Todo.objects.get(task="a")
    assert changes[1].context == {
        "event": "approved",
        "details": {"to": "a@example.com", "copies": 2},
        "user_id": 7,
    }


def test_a_rollback_takes_back_what_belongs_to_the_transaction(
    drain: Drain, session: Any, task: Task
) -> None:
    record(session, "before any write", task)
    session.add(Task("b"))
    session.flush()
    record(session, "approved", task)
    record(session, "viewed", task)
    session.rollback()
    assert [one.context["event"] for one in drain()] == ["before any write", "viewed"]


def test_a_view_flushes_nothing(drain: Drain, session: Any, task: Task) -> None:
    new = Task("new")
    session.refresh(task)
    session.add(new)
    record(session, "viewed", task)
    assert new.id is None
    session.rollback()
    assert brief(drain()) == [("EVENT", "todo", str(task.id), "viewed")]


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "AUTOCOMMIT"])
def test_a_connection_records(drain: Drain, engine: Any, task: Task, isolation: str) -> None:
    with engine.connect().execution_options(isolation_level=isolation) as opened:
        record(opened, "sent", task)
    assert brief(drain()) == [("EVENT", "todo", str(task.id), "sent")]


def test_a_refused_event_does_not_break_the_transaction(
    drain: Drain, session: Any, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = emission._EMIT.replace("SELECT CASE", "SELECT pg_catalog.pg_sleep(5) IS NULL, CASE")
    monkeypatch.setattr(emission, "_EMIT", slow)
    task.task = "Before"
    session.flush()
    session.execute(text("SET LOCAL statement_timeout = 50"))
    with pytest.raises(DBAPIError):
        record(session, "sent", task)
    session.add(Task("After"))
    session.commit()
    assert [one.after["task"] for one in drain()] == ["Before", "After"]


def test_a_standby_is_refused(session: Any, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    there = emission._EMIT.replace("pg_catalog.pg_is_in_recovery()", "true")
    monkeypatch.setattr(emission, "_EMIT", there)
    with pytest.raises(BemiError, match="primary"):
        record(session, "sent", task)


def test_a_name_and_a_flushed_object_are_needed(drain: Drain, session: Any) -> None:
    with pytest.raises(ValueError, match="1 to 100 bytes"):
        record(session, "")
    with pytest.raises(ValueError, match="flush it before"):
        record(session, "sent", Task("new"))
    assert drain() == []


def test_nothing_is_recorded_where_nothing_is_tracked(
    drain: Drain, session: Any, task: Task, settings: Any
) -> None:
    with skip_tracking(reason="a test"):
        record(session, "viewed", task)
    settings.BEMI_CAPTURE = False
    record(session, "viewed", task)
    assert drain() == []


def test_a_masked_key_is_not_told(settings: Any) -> None:
    note, task = TaskNote(), Task("a")
    note.todo_id = task.id = 42
    assert sqlalchemy_events._row(note) == (None, "todo_note", "42")
    settings.BEMI_MASK = {"todo.id": "hash"}
    settings.BEMI_MASK_KEY = "k" * 32
    (_schema, _table, key), (_schema, _table, same) = map(sqlalchemy_events._row, (task, note))
    assert key == same and len(str(key)) > 10
    # Without the key of hashes, it is not known what the log has.
    settings.BEMI_MASK_KEY = None
    assert sqlalchemy_events._row(task) == (None, "todo", None)


def test_the_rules_of_a_project_without_django_apply(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.bemi]\nmask_key = "{"k" * 32}"\n[tool.bemi.mask]\n"todo.id" = "hash"\n'
    )
    code = (
        "import sys; sys.modules['django'] = None\n"
        "from bemi_django.integrations.sqlalchemy_events import _rules\n"
        "print(sorted(_rules().of_table([('public', 'todo')], ['id', 'task'], ['id'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "['id']\n", done.stderr


@pytest.mark.skipif(not HAS_PSYCOPG, reason="needs SQLAlchemy 2 and psycopg 3")
def test_an_asynchronous_session_records(drain: Drain, task: Task) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    libpq = conf.connection_parameters("default")
    url = sqlalchemy.engine.URL.create(
        "postgresql+psycopg",
        username=libpq["user"],
        password=libpq.get("password"),
        host=libpq["host"],
        port=int(libpq["port"]),
        database=libpq["dbname"],
    )

    async def show() -> None:
        engine = create_async_engine(url)
        async with AsyncSession(engine) as opened:
            found = await opened.get(Task, task.id)
            await arecord(opened, "viewed", found, fn=1)
        async with engine.connect() as connection:
            await arecord(connection, "deployed")
        await engine.dispose()

    with bound_context(user_id=7):
        asyncio.run(show())
    changes = drain()
    assert brief(changes) == [
        ("EVENT", "todo", str(task.id), "viewed"),
        ("EVENT", "events", None, "deployed"),
    ]
    assert changes[0].context == {"event": "viewed", "details": {"fn": 1}, "user_id": 7}


@pytest.mark.skipif(not IS_2, reason="the bridge needs SQLAlchemy 2")
def test_a_session_of_the_bridge_records(drain: Drain, transactional_db: None) -> None:
    from django.db import transaction

    from bemi_django.integrations.sqlalchemy import get_session, mapped

    with transaction.atomic(), get_session() as opened:
        todo = mapped(Todo)(task="a")
        opened.add(todo)
        opened.flush()
        record(opened, "approved", todo)
        opened.commit()
        key = todo.id
    assert brief(drain()) == [("CREATE", "todo", str(key), None), ("EVENT", "todo", str(key), "approved")]
