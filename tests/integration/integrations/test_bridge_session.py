"""Sessions on Django's connection: whose transaction it is, and what each side sees of the other."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.postgresql.psycopg_any import is_psycopg3
from django.db.transaction import TransactionManagementError

from bemi_django import bound_context
from sample_project.todos.models import Tag

# It skips the module where SQLAlchemy is older; the shapes are not installed there.
from tests.support.bridge import bridge, sqlalchemy

# isort: split
from tests.shapes.models import Elsewhere, Odd
from tests.support.pipeline import Drain

select, text = sqlalchemy.select, sqlalchemy.text


BOTH = [
    pytest.param(False, id="autocommit", marks=pytest.mark.django_db(transaction=True)),
    pytest.param(True, id="under a test's rollback", marks=pytest.mark.django_db),
]


@pytest.fixture(params=BOTH)
def either(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every transaction twice: Django's connection in autocommit, and already in a block."""
    yield
    assert connection.in_atomic_block is request.param
    assert connection.get_autocommit() is not request.param
    assert not connection.needs_rollback


def new_tag(name: str) -> Any:
    return bridge.mapped(Tag)(name=name)


def names() -> list[str]:
    return sorted(Tag.objects.values_list("name", flat=True))


def names_elsewhere() -> list[str]:
    """What another connection sees: what is committed."""
    fresh: Any = connection.copy()
    try:
        with fresh.cursor() as cursor:
            cursor.execute("SELECT name FROM tag ORDER BY name")
            return [name for (name,) in cursor.fetchall()]
    finally:
        fresh.close()


def test_each_side_sees_what_the_other_wrote(either: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("by SQLAlchemy"))
        session.flush()
        assert names() == ["by SQLAlchemy"]
        Tag.objects.create(name="by Django")
        assert len(session.scalars(select(bridge.mapped(Tag))).all()) == 2
        session.rollback()
    assert names() == []


def test_commit_keeps_and_close_drops(either: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("kept"))
        session.commit()
        session.add(new_tag("dropped"))
        session.flush()
    assert names() == ["kept"]


def test_outside_a_block_commit_commits(transactional_db: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("new"))
        session.flush()
        assert names_elsewhere() == []
        session.commit()
        assert names_elsewhere() == ["new"]


def test_in_a_block_commit_does_not_commit_djangos_transaction(transactional_db: None) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with bridge.get_session() as session:
            session.add(new_tag("new"))
            session.commit()
        assert names() == ["new"] and names_elsewhere() == []
        raise ZeroDivisionError
    assert names() == []


def test_in_a_block_rollback_goes_back_to_where_the_session_joined(either: None) -> None:
    with transaction.atomic():
        Tag.objects.create(name="before")
        with bridge.get_session() as session:
            session.add(new_tag("in the session"))
            session.flush()
            Tag.objects.create(name="by Django, in the session")
            session.rollback()
        Tag.objects.create(name="after")
    assert names() == ["after", "before"]


def test_a_block_that_ends_takes_what_the_session_flushed(either: None) -> None:
    with transaction.atomic():
        session = bridge.get_session()
        session.add(new_tag("flushed"))
        session.flush()
    assert names() == ["flushed"]
    session.add(new_tag("later"))
    session.commit()
    session.add(new_tag("never"))
    session.flush()
    session.close()
    assert names() == ["flushed", "later"]


def lose_a_session(caplog: pytest.LogCaptureFixture) -> None:
    session = bridge.get_session()
    session.add(new_tag("flushed"))
    session.flush()
    del session
    gc.collect()
    assert "a session of SQLAlchemy was not closed" in caplog.text


def test_a_lost_session_leaves_no_transaction_open(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    lose_a_session(caplog)
    assert names() == [] and connection.get_autocommit()


def test_a_lost_session_does_not_take_along_what_django_wrote(
    either: None, caplog: pytest.LogCaptureFixture
) -> None:
    with transaction.atomic():
        Tag.objects.create(name="by Django")
        lose_a_session(caplog)
    assert names() == ["by Django", "flushed"]


def test_a_block_in_a_session_is_a_part_of_it(either: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("one"))
        session.flush()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Tag.objects.create(name="two")
            raise ZeroDivisionError
        with transaction.atomic():
            Tag.objects.create(name="three")
        session.commit()
    assert names() == ["one", "three"]


def test_a_commit_in_a_younger_block_waits_for_its_end(transactional_db: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("one"))
        session.flush()
        with transaction.atomic():
            with transaction.atomic():
                Tag.objects.create(name="two")
            session.commit()
            assert names_elsewhere() == []
            with transaction.atomic():
                Tag.objects.create(name="three")
        assert names_elsewhere() == ["one", "three", "two"]
    assert connection.get_autocommit() and not connection.in_atomic_block


def test_a_rollback_in_a_younger_block_breaks_that_block_too(transactional_db: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("one"))
        session.flush()
        with transaction.atomic():
            Tag.objects.create(name="two")
            session.rollback()
            with pytest.raises(TransactionManagementError):
                Tag.objects.count()
    assert names() == [] and connection.get_autocommit()


def test_a_joined_session_ends_in_a_younger_block(either: None) -> None:
    with transaction.atomic(), bridge.get_session() as session:
        session.add(new_tag("one"))
        session.flush()
        with transaction.atomic():
            Tag.objects.create(name="two")
            session.rollback()
            Tag.objects.create(name="three")
        session.add(new_tag("four"))
        session.flush()
        with transaction.atomic():
            session.commit()
    assert names() == ["four", "three"]


def test_a_failed_statement_is_sqlalchemys_error_and_can_be_rolled_back(either: None) -> None:
    Tag.objects.create(name="taken")
    with bridge.get_session() as session:
        session.add(new_tag("taken"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.flush()
        session.rollback()
        session.add(new_tag("free"))
        session.commit()
    assert names() == ["free", "taken"]


def test_a_failed_statement_breaks_djangos_block_as_djangos_own_would(either: None) -> None:
    with transaction.atomic():
        session = bridge.get_session()
        with pytest.raises(sqlalchemy.exc.ProgrammingError):
            session.execute(text("SELECT nonsense"))
        with pytest.raises(TransactionManagementError):
            Tag.objects.count()
        session.close()
        assert Tag.objects.count() == 0
    assert names() == []


def test_a_savepoint_of_the_session_mends_what_failed_in_it(either: None) -> None:
    Tag.objects.create(name="taken")
    with bridge.get_session() as session:
        session.add(new_tag("one"))
        with pytest.raises(sqlalchemy.exc.IntegrityError), session.begin_nested():
            session.add(new_tag("taken"))
        session.add(new_tag("two"))
        assert Tag.objects.filter(name="one").exists()
        session.commit()
    assert names() == ["one", "taken", "two"]


def test_a_block_that_is_broken_refuses_the_session(db: None) -> None:
    session = bridge.get_session()
    session.execute(text("SELECT 1"))
    with pytest.raises(DatabaseError), transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")
    with pytest.raises(TransactionManagementError):
        session.execute(text("SELECT 1"))
    with pytest.raises(TransactionManagementError):
        session.commit()
    session.close()
    assert not connection.needs_rollback and names() == []


def test_what_the_database_refuses_at_commit_is_sqlalchemys_error(transactional_db: None) -> None:
    with bridge.get_session() as session:
        session.add(
            bridge.mapped(Odd)(percent=1, metadata="", parent_id="00000000-0000-0000-0000-000000000000")
        )
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            session.commit()
        session.rollback()
    assert connection.get_autocommit() and not Odd.objects.exists()


def test_two_sessions_share_a_transaction(either: None) -> None:
    with transaction.atomic(), bridge.get_session() as one, bridge.get_session() as two:
        one.add(new_tag("one"))
        one.flush()
        two.add(new_tag("two"))
        two.flush()
        two.rollback()
        one.commit()
    assert names() == ["one"]


def test_on_commit_runs_when_the_session_commits(transactional_db: None) -> None:
    ran = []
    with bridge.get_session() as session:
        session.add(new_tag("new"))
        session.flush()
        transaction.on_commit(lambda: ran.append(names_elsewhere()))
        assert ran == []
        session.commit()
    assert ran == [["new"]]


def test_a_connection_that_django_opened_anew_is_taken_up(transactional_db: None) -> None:
    with bridge.get_session() as session:
        session.add(new_tag("one"))
        session.commit()
        connection.close()
        session.add(new_tag("two"))
        session.commit()
    assert names() == ["one", "two"]


def test_the_isolation_level_is_djangos(db: None) -> None:
    with bridge.get_session() as session, pytest.raises(sqlalchemy.exc.ArgumentError, match="OPTIONS"):
        session.connection(execution_options={"isolation_level": "SERIALIZABLE"})


def test_each_thread_has_its_own_connection(transactional_db: None) -> None:
    def write(name: str) -> int:
        try:
            with bridge.get_session() as session:
                session.add(new_tag(name))
                session.commit()
                pid: int = session.scalar(text("SELECT pg_backend_pid()"))
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    assert cursor.fetchone() == (pid,)
                return pid
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        pids = {one.submit(write, "one").result(), two.submit(write, "two").result()}
    assert len(pids) == 2 and names() == ["one", "two"]


def test_a_session_does_not_go_from_thread_to_thread(db: None) -> None:
    with bridge.get_session() as session, ThreadPoolExecutor(1) as other:
        session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseError, match="thread"):
            other.submit(session.execute, text("SELECT 1")).result()


def test_an_async_view_goes_through_sync_to_async(transactional_db: None) -> None:
    def write(name: str) -> None:
        with transaction.atomic(), bridge.get_session() as session:
            session.add(new_tag(name))
            session.commit()

    async def view() -> None:
        await asyncio.gather(*(sync_to_async(write)(name) for name in "abc"))
        await sync_to_async(connections.close_all)()

    asyncio.run(view())
    assert names() == ["a", "b", "c"]


def test_django_reads_its_types_as_before(db: None) -> None:
    from tests.shapes.models import Everything

    Everything.objects.create(data={"a": [1]}, pairs={"a": None}, address="::1", moment="2020-01-01T00:00Z")
    before = Everything.objects.values_list("data", "pairs", "address", "moment").get()
    with bridge.get_session() as session:
        session.scalars(select(bridge.mapped(Everything))).all()
    assert Everything.objects.values_list("data", "pairs", "address", "moment").get() == before


OPTIONS: list[Any] = [pytest.param({}, id="plain")]
if is_psycopg3:
    OPTIONS += [
        pytest.param({"server_side_binding": True, "prepare_threshold": 0}, id="prepared"),
        pytest.param({"pool": {"min_size": 1, "max_size": 2}}, id="pool"),
    ]


@pytest.fixture(params=OPTIONS)
def otherwise(drain: Drain, request: pytest.FixtureRequest) -> Iterator[None]:
    """Django connects with other OPTIONS."""
    opened: Any = connections["default"]
    before = opened.settings_dict["OPTIONS"]
    opened.close()
    opened.settings_dict["OPTIONS"] = request.param
    yield
    opened.close()
    if "pool" in request.param:
        opened.close_pool()
    opened.settings_dict["OPTIONS"] = before


def test_sessions_work_however_django_connects(drain: Drain, otherwise: None) -> None:
    with bound_context(user_id=7):
        for name in ("one", "two"):
            with bridge.get_session() as session:
                session.add(new_tag(name))
                session.commit()
            Tag.objects.create(name=f"{name} by Django")
            connection.close()
    assert names() == ["one", "one by Django", "two", "two by Django"]
    changes = [change for change in drain() if change.table == "tag"]
    assert len(changes) == 4 and {change.context["user_id"] for change in changes} == {7}


def test_every_write_carries_the_context_once(drain: Drain) -> None:
    with bound_context(user_id=7), transaction.atomic():
        with bridge.get_session() as session:
            session.add_all([new_tag("a"), new_tag("b")])
            session.commit()
            session.execute(sqlalchemy.update(bridge.mapped(Tag)).values(name="c").where(text("name = 'a'")))
            session.delete(session.scalars(select(bridge.mapped(Tag)).filter_by(name="b")).one())
            session.commit()
        Tag.objects.create(name="d")
    changes = [change for change in drain() if change.table == "tag"]
    assert [change.operation for change in changes] == ["CREATE", "CREATE", "UPDATE", "DELETE", "CREATE"]
    assert {change.context["user_id"] for change in changes} == {7}
    assert not any("Bemi" in change.context["SQL"] for change in changes)
    assert Elsewhere.objects.count() == 0
