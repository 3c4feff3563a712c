"""The databases of the tests' settings, by Django's connections and by other sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import psycopg2
from django.db import connections

from bemi_django import conf
from tests.support import roles
from tests.support.polling import until


class Database(Protocol):
    """A database that a pipeline reads from or writes to; each method returns the rows of the answer."""

    def run(self, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        """Run a statement as the owner of the tables, or with more rights."""

    def read(self, query: str, parameters: Sequence[object] | None = None) -> list[Any]:
        """Query the log as a role that may read it."""

    def administer(self, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        """Run a statement as a superuser."""


class ProjectDatabase:
    """A database of the settings, as the roles that ``pytest --roles`` chooses."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def run(self, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        with connections[self._alias].cursor() as cursor:
            return _rows(cursor, statement, parameters)

    def read(self, query: str, parameters: Sequence[object] | None = None) -> list[Any]:
        if not roles.are_in_use():
            return self.run(query, parameters)
        reader = roles.as_role(roles.READER, conf.connection_parameters(self._alias))
        with closing(psycopg2.connect(**reader)) as opened, opened.cursor() as cursor:
            return _rows(cursor, query, parameters)

    def administer(self, statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
        with roles.administrator(str(connections[self._alias].settings_dict["NAME"])) as cursor:
            return _rows(cursor, statement, parameters)


def execute(statement: str, parameters: Sequence[object] | None = None) -> list[Any]:
    """Run a statement on Django's default connection and return the rows."""
    return ProjectDatabase("default").run(statement, parameters)


@contextmanager
def moved(**address: Any) -> Iterator[None]:
    """Let Django's default connection lead to another database until the block ends."""
    # Those of all threads, and of connections that are opened beside Django's own.
    used = connections.settings["default"]
    original = dict(used)
    connections["default"].close()
    used.update(address)
    try:
        yield
    finally:
        connections["default"].close()
        used.update(original)


def wait_until(query: str) -> None:
    """Repeat the query until its first value is true."""
    until(lambda: execute(query)[0][0], why=lambda: query)


@contextmanager
def another_session(**parameters: Any) -> Iterator[Any]:
    """Yield a cursor of a session beside Django's; what it does not commit is rolled back."""
    other = psycopg2.connect(**{**conf.connection_parameters("default"), **parameters})
    with closing(other), other.cursor() as cursor:
        yield cursor


def _rows(cursor: Any, statement: str, parameters: Sequence[object] | None) -> list[Any]:
    cursor.execute(statement, parameters)
    return list(cursor.fetchall()) if cursor.description else []
