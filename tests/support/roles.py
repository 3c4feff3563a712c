"""The roles of ``pytest --roles with``: an owner, a worker and a reader, none of them a superuser."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from sample_project.scram import verifier
from tests.support.polling import until

#: The URL of a superuser; set only while the tests run as other roles.
_ADMINISTRATOR = "BEMI_TEST_ADMINISTRATOR"
#: Django's role: owns the tables and may create databases, as the tests do.
OWNER = "bemi_owner"
WORKER = "bemi_worker"
READER = "bemi_reader"
PASSWORD = "secret"
#: What the server stores of it.
VERIFIER = verifier(PASSWORD)

_READ = "SELECT count(*) FROM pg_replication_slots WHERE database = %s AND active"
_DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"


def are_in_use() -> bool:
    return _ADMINISTRATOR in os.environ


def take(url: str) -> None:
    """Make ``DATABASE_URL`` that of the owner."""
    os.environ[_ADMINISTRATOR] = url
    with administrator() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", [OWNER])
        verb = "ALTER" if cursor.fetchone() else "CREATE"
        cursor.execute(
            f"{verb} ROLE {OWNER} LOGIN CREATEDB NOSUPERUSER NOREPLICATION PASSWORD %s", [VERIFIER]
        )
    os.environ["DATABASE_URL"] = address(url, OWNER)


def address(url: str, role: str) -> str:
    """Return the URL with another role as its user."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{place}"))


def give_back() -> None:
    """Drop the roles from a server that outlives the tests."""
    with administrator() as cursor:
        for role in (WORKER, READER, OWNER):
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", [role])
            if cursor.fetchone():
                cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    del os.environ[_ADMINISTRATOR]


def grant(*aliases: str) -> None:
    """Grant the roles, where they are in use, what ``bemi grants`` prints for these databases or all."""
    from django.core.management import call_command
    from django.db import connections

    for alias in (aliases or connections) if are_in_use() else ():
        if str(connections[alias].settings_dict["NAME"]).startswith("test_"):
            script = io.StringIO()
            call_command("bemi", "grants", "--database", alias, stdout=script)
            _run_grants(script.getvalue())


def _run_grants(script: str) -> None:
    """Run each part on the database that it names; create the event triggers, which the owner may not."""
    parts = re.split(r"^-- \S+: database (\S+), wh.*\n", script, flags=re.MULTILINE)[1:]
    for dbname, statements in zip(parts[::2], parts[1::2], strict=True):
        with administrator(dbname) as cursor:
            cursor.execute(statements)
            for role in (WORKER, READER):
                cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role])
                if cursor.fetchone() == (1,):
                    cursor.execute(f"ALTER ROLE {role} PASSWORD %s", [VERIFIER])
    with administrator(parts[0]) as cursor:
        cursor.execute("SELECT _bemi.event_triggers_v1()")


def as_role(role: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a connection's parameters for another role, or unchanged if roles are not in use."""
    return {**parameters, "user": role, "password": PASSWORD} if are_in_use() else parameters


def drop_database(name: str) -> None:
    """Drop a database and its slots if it is there; only a superuser may end what autovacuum does in it."""
    with administrator() as cursor:
        # The server may not have noticed yet that a reader is gone.
        until(lambda: cursor.execute(_READ, [name]) or cursor.fetchone() == (0,))
        cursor.execute(_DROP_SLOTS, [name])
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def administrator(dbname: str = "postgres") -> Iterator[Any]:
    """Yield a cursor of a superuser, in autocommit."""
    url = os.environ.get(_ADMINISTRATOR) or os.environ["DATABASE_URL"]
    connection = psycopg2.connect(url, dbname=dbname)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
