"""Ways to insert a row through each driver, with values bound in the driver's own way."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from importlib import metadata
from typing import Any, NamedTuple

import psycopg2
import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import conf, get_context

#: A column of each kind that can hold a text.
TABLE = (
    "CREATE TABLE note (id text PRIMARY KEY, line varchar(2000000), document jsonb, words text[], data bytea)"
)


class Note(NamedTuple):
    id: str
    text: str
    data: bytes

    @property
    def word(self) -> str:
        return self.text[:1000]

    @property
    def document(self) -> dict[str, Any]:
        return {self.word: [self.word]}

    @property
    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "line": self.text,
            "document": self.document,
            "words": [self.word, self.word],
            "data": self.data,
        }

    @property
    def values(self) -> list[Any]:
        return [self.id, self.text, json.dumps(self.document), self.word, self.word, self.data]


Insert = Callable[[Note], None]
Driver = Callable[[], AbstractContextManager[Insert]]

_INSERT = (
    "INSERT INTO note (id, line, document, words, data) VALUES "
    "({}, {}, CAST({} AS jsonb), ARRAY[CAST({} AS text), CAST({} AS text)], {})"
)
_FORMAT = _INSERT.format(*["%s"] * 6)
_NAMED = _INSERT.format(*[f":p{number}" for number in range(6)])


@contextmanager
def django() -> Iterator[Insert]:
    yield lambda note: _insert_with_django(connection, note)


@contextmanager
def django_server_side_binding() -> Iterator[Insert]:
    other = connection.copy()
    other.settings_dict["OPTIONS"]["server_side_binding"] = True
    with closing(other):
        yield lambda note: _insert_with_django(other, note)


@contextmanager
def psycopg2_direct() -> Iterator[Insert]:
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as opened:
        yield lambda note: _insert_with_driver(opened, note)


@contextmanager
def psycopg_client_side_binding() -> Iterator[Insert]:
    import psycopg

    parameters = conf.connection_parameters("default")
    with closing(psycopg.connect(**parameters, cursor_factory=psycopg.ClientCursor)) as opened:
        yield lambda note: _insert_with_driver(opened, note)


@contextmanager
def psycopg_server_side_binding() -> Iterator[Insert]:
    import psycopg

    with closing(psycopg.connect(**conf.connection_parameters("default"))) as opened:
        yield lambda note: _insert_with_driver(opened, note)


@contextmanager
def sqlalchemy_psycopg2() -> Iterator[Insert]:
    with _engine("psycopg2") as insert:
        yield insert


@contextmanager
def sqlalchemy_psycopg() -> Iterator[Insert]:
    with _engine("psycopg") as insert:
        yield insert


@contextmanager
def sqlalchemy_asyncpg() -> Iterator[Insert]:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    from bemi_django.capture.hooks.sqlalchemy_engine import install

    engine = create_async_engine(_url("asyncpg"))
    install(engine)

    async def insert(note: Note) -> None:
        async with engine.begin() as opened:
            await opened.execute(sqlalchemy.text(_NAMED), _named(note))

    loop = asyncio.new_event_loop()
    try:
        yield lambda note: loop.run_until_complete(insert(note))
    finally:
        loop.run_until_complete(engine.dispose())
        loop.close()


def _insert_with_django(wrapper: BaseDatabaseWrapper, note: Note) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(_FORMAT, note.values)


def _insert_with_driver(opened: Any, note: Note) -> None:
    # Without a hook the context is set as a script sets it, in JSON that jsonb can hold.
    context = json.dumps(visible(get_context()))
    with opened.cursor() as cursor:
        if get_context():
            cursor.execute("SELECT set_config('bemi.context', %s, true)", [context])
        cursor.execute(_FORMAT, note.values)
    opened.commit()


@contextmanager
def _engine(driver: str) -> Iterator[Insert]:
    import sqlalchemy

    from bemi_django.capture.hooks.sqlalchemy_engine import install

    engine = sqlalchemy.create_engine(_url(driver), future=True)
    install(engine)

    def insert(note: Note) -> None:
        with engine.begin() as opened:
            opened.execute(sqlalchemy.text(_NAMED), _named(note))

    try:
        yield insert
    finally:
        engine.dispose()


def _url(driver: str) -> Any:
    from sqlalchemy.engine import URL

    parameters = conf.connection_parameters("default")
    names = {"username": "user", "password": "password", "host": "host", "port": "port", "database": "dbname"}
    parts: dict[str, Any] = {part: parameters.get(name) for part, name in names.items()}
    return URL.create(f"postgresql+{driver}", **{**parts, "port": int(parts["port"] or 5432)})


def _named(note: Note) -> dict[str, Any]:
    return {f"p{number}": value for number, value in enumerate(note.values)}


def visible(value: Any) -> Any:
    """Return the value as jsonb can hold it: NUL becomes a visible sign."""
    if isinstance(value, Mapping):
        return {visible(key): visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [visible(item) for item in value]
    return value.replace("\0", "\u2400") if isinstance(value, str) else value


def _needs(driver: Any, *modules: str, sqlalchemy: int = 0) -> Any:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    reason = f"not installed: {', '.join(missing)}" if missing else ""
    if not missing and sqlalchemy and int(metadata.version("sqlalchemy").split(".")[0]) < sqlalchemy:
        reason = f"SQLAlchemy {metadata.version('sqlalchemy')} does not know this driver"
    return pytest.param(driver, id=driver.__name__, marks=pytest.mark.skipif(bool(reason), reason=reason))


HOOKED = [
    _needs(django),
    _needs(django_server_side_binding, "psycopg"),
    _needs(sqlalchemy_psycopg2, "sqlalchemy"),
    _needs(sqlalchemy_psycopg, "sqlalchemy", "psycopg", sqlalchemy=2),
    _needs(sqlalchemy_asyncpg, "sqlalchemy", "asyncpg", "greenlet"),
]
DIRECT = [
    _needs(psycopg2_direct),
    _needs(psycopg_client_side_binding, "psycopg"),
    _needs(psycopg_server_side_binding, "psycopg"),
]
EVERY = [*HOOKED, *DIRECT]


def is_hooked(driver: Driver) -> bool:
    """Return whether a hook of ours sees the statements of a driver."""
    return getattr(driver, "__name__", "").startswith(("django", "sqlalchemy"))
