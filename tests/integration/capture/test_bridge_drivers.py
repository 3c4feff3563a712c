"""The hook with every driver and every way to write: a comment or a setting, as fits the driver."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.db import connection as django_connection

from bemi_django import bound_context, conf
from bemi_django.models import Change
from sample_project.todos.models import Tag
from tests.support.pipeline import Drain

sqlalchemy: Any = pytest.importorskip("sqlalchemy", minversion="1.4", reason="SQLAlchemy is an optional part")
asyncio_part: Any = importlib.import_module("sqlalchemy.ext.asyncio")
hook: Any = pytest.importorskip("bemi_django.capture.hooks.sqlalchemy_engine")

text = sqlalchemy.text
SQLALCHEMY_2 = not sqlalchemy.__version__.startswith("1.")
PSYCOPG = SQLALCHEMY_2 and importlib.util.find_spec("psycopg") is not None
ASYNC = importlib.util.find_spec("greenlet") is not None
DRIVERS = ["psycopg2"] + ["asyncpg"] * ASYNC + ["psycopg", "psycopg async"] * PSYCOPG
# Those that prepare get the context by a setting.
BY_SETTING = {"asyncpg", "psycopg", "psycopg async"}

Work = Callable[[Any], object]


class Engine:
    """Runs the same synchronous work on any driver, in its own transaction or in autocommit."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self._is_async = driver in ("asyncpg", "psycopg async")

    def run(self, work: Work, autocommit: bool = False, **options: Any) -> None:
        options |= {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
        if self._is_async:
            asyncio.run(self._run_async(work, options))
            return
        engine = sqlalchemy.create_engine(self._url(), future=True, **options)
        hook.install(engine)
        try:
            with engine.connect() as opened:
                work(opened)
                opened.commit()
        finally:
            engine.dispose()

    async def _run_async(self, work: Work, options: dict[str, Any]) -> None:
        engine = asyncio_part.create_async_engine(self._url(), **options)
        hook.install(engine)
        try:
            async with engine.connect() as opened:
                await opened.run_sync(work)
                await opened.commit()
        finally:
            await engine.dispose()

    def _url(self) -> Any:
        libpq = conf.connection_parameters("default")
        return sqlalchemy.engine.URL.create(
            f"postgresql+{self.driver.split()[0]}",
            username=libpq["user"],
            password=libpq.get("password"),
            host=libpq["host"],
            port=int(libpq["port"]),
            database=libpq["dbname"],
        )


@pytest.fixture(params=DRIVERS)
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(request.param)


def tag_table() -> Any:
    return sqlalchemy.Table(
        "tag",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.BigInteger, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(50)),
    )


def tags(drain: Drain) -> list[Change]:
    return [change for change in drain() if change.table == "tag"]


def users(changes: list[Change]) -> list[object]:
    return [change.context.get("user_id") for change in changes]


INSERT = text("INSERT INTO tag (name) VALUES (:name)")


def insert(opened: Any, name: str) -> None:
    opened.execute(INSERT, {"name": name})


def core(opened: Any) -> None:
    table = tag_table()
    opened.execute(table.insert().values(name="a"))
    opened.execute(table.update().values(name="b"))
    opened.execute(table.delete())


def executemany(opened: Any) -> None:
    opened.execute(INSERT, [{"name": "a"}, {"name": "b"}, {"name": "c"}])


def insertmanyvalues(opened: Any) -> None:
    opened.execute(tag_table().insert(), [{"name": "a"}, {"name": "b"}, {"name": "c"}])


def returning(opened: Any) -> None:
    table = tag_table()
    made = opened.execute(table.insert().values([{"name": "a"}, {"name": "b"}]).returning(table.c.id)).all()
    assert len(made) == 2
    opened.execute(
        table.update().where(table.c.id == made[0].id).values(name="c").returning(table.c.name)
    ).one()


def orm_bulk(opened: Any) -> None:
    mapper = sqlalchemy.orm.registry()
    made = type("Tag", (), {})
    mapper.map_imperatively(made, tag_table())
    session = sqlalchemy.orm.Session(opened, future=True)
    session.bulk_insert_mappings(made, [{"name": "a"}, {"name": "b"}])
    rows = session.execute(sqlalchemy.select(made.id)).scalars().all()  # type: ignore[attr-defined]
    session.bulk_update_mappings(made, [{"id": pk, "name": f"n{pk}"} for pk in rows])
    session.flush()
    mapper.dispose()


def with_query(opened: Any) -> None:
    opened.execute(
        text("WITH made AS (INSERT INTO tag (name) VALUES ('a') RETURNING id) SELECT id FROM made")
    ).all()


def procedure(opened: Any) -> None:
    opened.execute(text("CALL add_tag(:name)"), {"name": "a"})


@pytest.fixture
def add_tag(transactional_db: None) -> Iterator[None]:
    with django_connection.cursor() as cursor:
        cursor.execute(
            "CREATE PROCEDURE add_tag(given varchar) LANGUAGE sql "
            "AS $$ INSERT INTO tag (name) VALUES (given) $$"
        )
    yield
    with django_connection.cursor() as cursor:
        cursor.execute("DROP PROCEDURE add_tag")


WAYS = [core, executemany, insertmanyvalues, returning, orm_bulk, with_query, procedure]


@pytest.mark.parametrize("autocommit", [False, True], ids=["transaction", "autocommit"])
def test_every_way_to_write_carries_the_context(
    drain: Drain, add_tag: None, engine: Engine, autocommit: bool
) -> None:
    for number, way in enumerate(WAYS):
        with bound_context(user_id=number, path="*/ %s $1 :x ?"):
            engine.run(way, autocommit=autocommit)
        changes = tags(drain)
        assert changes and set(users(changes)) == {number}, way
        for change in changes:
            assert change.context["path"] == "*/ %s $1 :x ?"
            assert change.context["SQL"] and "Bemi" not in change.context["SQL"]
        Tag.objects.all().delete()
        drain()


def test_the_context_may_change_within_a_transaction(drain: Drain, engine: Engine) -> None:
    def work(opened: Any) -> None:
        insert(opened, "nobody")
        for name, user in (("a", 7), ("b", 7), ("c", 8)):
            with bound_context(user_id=user):
                insert(opened, name)
        insert(opened, "nobody again")

    engine.run(work)
    assert users(tags(drain)) == [None, 7, 7, 8, None]


def test_a_savepoint_that_is_rolled_back_takes_its_context_along(drain: Drain, engine: Engine) -> None:
    def work(opened: Any) -> None:
        with bound_context(user_id=7):
            insert(opened, "a")
            savepoint = opened.begin_nested()
            with bound_context(user_id=8):
                insert(opened, "b")
            savepoint.rollback()
            insert(opened, "c")
            with bound_context(user_id=9), opened.begin_nested():
                insert(opened, "d")
            insert(opened, "e")

    engine.run(work)
    assert users(tags(drain)) == [7, 7, 9, 7]


def test_a_savepoint_that_a_statement_rolls_back_takes_its_context_along(
    drain: Drain, engine: Engine
) -> None:
    """SQLAlchemy does not know of it."""

    def work(opened: Any) -> None:
        with bound_context(user_id=7):
            insert(opened, "a")
        opened.execute(text("SAVEPOINT one"))
        with bound_context(user_id=8):
            insert(opened, "b")
            opened.execute(text(" /* back */ Rollback To Savepoint one"))
            insert(opened, "c")
        insert(opened, "d")
        with bound_context(user_id=9):
            insert(opened, "e")
            opened.execute(text("COMMIT"))
            if engine.driver != "asyncpg":
                # It begins another one, of which SQLAlchemy does not know either.
                insert(opened, "f")

    engine.run(work)
    assert users(tags(drain)) == [7, 8, None, 9] + [9] * (engine.driver != "asyncpg")


def test_a_context_is_sent_again_after_a_statement_that_resets_all_settings(
    drain: Drain, engine: Engine
) -> None:
    def work(opened: Any) -> None:
        with bound_context(user_id=7):
            insert(opened, "a")
            opened.execute(text("RESET ALL"))
            insert(opened, "b")

    engine.run(work)
    assert users(tags(drain)) == [7, 7]


@pytest.mark.parametrize("driver", ["asyncpg"] * ASYNC + ["psycopg"] * PSYCOPG)
def test_a_context_that_was_cancelled_on_its_way_is_sent_again(drain: Drain, driver: str) -> None:
    """A task that waits for the driver is cancelled when the server has the context already."""
    execute = hook._execute

    def execute_and_be_cancelled(opened: Any, value: str) -> None:
        execute(opened, value)
        raise asyncio.CancelledError

    async def work() -> None:
        engine = asyncio_part.create_async_engine(Engine(driver)._url())
        hook.install(engine)
        async with engine.connect() as opened:
            with bound_context(user_id=7):
                await opened.execute(INSERT, {"name": "a"})
            with (
                bound_context(user_id=8),
                pytest.MonkeyPatch.context() as patched,
                pytest.raises(asyncio.CancelledError),
            ):
                patched.setattr(hook, "_execute", execute_and_be_cancelled)
                await opened.execute(INSERT, {"name": "b"})
            if opened.invalidated:
                # SQLAlchemy 2.1 takes a hook for a part of the statement.
                await opened.rollback()
            with bound_context(user_id=7):
                await opened.execute(INSERT, {"name": "c"})
            await opened.commit()
        await engine.dispose()

    asyncio.run(work())
    found = users(tags(drain))
    assert found and set(found) == {7}


def test_a_context_does_not_reach_the_next_transaction(drain: Drain, engine: Engine) -> None:
    def work(opened: Any) -> None:
        with bound_context(user_id=7):
            insert(opened, "a")
        opened.commit()
        insert(opened, "b")
        opened.commit()
        with bound_context(user_id=7):
            insert(opened, "c")

    engine.run(work)
    assert users(tags(drain)) == [7, None, 7]


def test_a_setting_is_sent_once_and_the_statement_stays_as_it_is(drain: Drain, engine: Engine) -> None:
    seen: list[str] = []

    def work(opened: Any) -> None:
        def look(cursor: Any, statement: str, *args: Any) -> None:
            seen.append(statement)

        sqlalchemy.event.listen(opened.engine, "do_execute", look)
        try:
            for name in "abc":
                insert(opened, name)
        finally:
            sqlalchemy.event.remove(opened.engine, "do_execute", look)
        sent = opened.execute(text("SELECT current_setting('bemi.context', true)")).scalar()
        assert bool(sent) is (engine.driver in BY_SETTING)

    with bound_context(user_id=7):
        engine.run(work)
    assert len(set(seen)) == 1
    assert seen[0].startswith("INSERT" if engine.driver in BY_SETTING else "/*Bemi {")
    (statement,) = {change.context["SQL"] for change in tags(drain)}
    assert statement.startswith("INSERT INTO tag (name) VALUES (")


def test_a_failing_statement_fails_once_with_its_own_error(drain: Drain, engine: Engine) -> None:
    Tag.objects.create(name="a")

    def work(opened: Any) -> None:
        with bound_context(user_id=7):
            insert(opened, "a")

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        engine.run(work)


@pytest.mark.skipif(not PSYCOPG, reason="needs SQLAlchemy 2 and psycopg 3")
def test_psycopg_that_does_not_prepare_gets_a_comment(drain: Drain) -> None:
    def work(opened: Any) -> None:
        insert(opened, "a")
        assert not opened.execute(text("SELECT current_setting('bemi.context', true)")).scalar()

    with bound_context(user_id=7):
        Engine("psycopg").run(work, connect_args={"prepare_threshold": None})
    assert users(tags(drain)) == [7]


async def _tasks(engine: Any) -> None:
    async def write(user: int) -> None:
        with bound_context(user_id=user):
            async with engine.begin() as opened:
                for name in "ab":
                    await opened.execute(INSERT, {"name": f"{user}{name}"})
                    await asyncio.sleep(0)

    await asyncio.gather(*map(write, range(5)))


@pytest.mark.parametrize("driver", ["asyncpg"] * ASYNC + ["psycopg"] * PSYCOPG)
def test_tasks_at_once_keep_their_contexts_apart(drain: Drain, driver: str) -> None:
    async def run(work: Callable[[Any], Awaitable[None]]) -> None:
        engine = asyncio_part.create_async_engine(Engine(driver)._url(), pool_size=5)
        hook.install(engine)
        await work(engine)
        await engine.dispose()

    asyncio.run(run(_tasks))
    changes = tags(drain)
    assert len(changes) == 10
    for change in changes:
        assert change.after["name"].startswith(str(change.context["user_id"]))
