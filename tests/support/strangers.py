"""Roles that may do nothing but connect to the database of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from bemi_django import conf
from tests.support.project_database import ProjectDatabase

STRANGER, PASSWORD = "bemi_stranger", "secret"


@contextmanager
def stranger_session(role: str = STRANGER) -> Iterator[Any]:
    """Yield a cursor of a session, in autocommit, of a role without any right; then drop it."""
    database = ProjectDatabase("default")
    database.administer(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    try:
        parameters = conf.connection_parameters("default") | {"user": role, "password": PASSWORD}
        with closing(psycopg2.connect(**parameters)) as session, session.cursor() as cursor:
            session.autocommit = True
            yield cursor
    finally:
        database.administer(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
