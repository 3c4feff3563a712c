"""A database of its own with a role for each task: the application, the worker, readers and handlers."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from django.core.management import call_command
from django.db import connection

from bemi_django import conf
from tests.support.pipeline import Pipeline

SLOT = "bemi_roles"


def superuser(dbname: str = "postgres") -> Any:
    opened = psycopg2.connect(os.environ["DATABASE_URL"], dbname=dbname)
    opened.autocommit = True
    return closing(opened)


@contextmanager
def separate_roles() -> Iterator[dict[str, dict[str, Any]]]:
    """Connection parameters of the three roles, in a database of the first one, as Django's role is now."""
    original = connection.settings_dict
    parameters = conf.connection_parameters("default")
    made = {
        name: {**parameters, "user": name, "password": "secret", "dbname": "roles"}
        for name in ("app", "bemi_worker", "bemi_reader", "bemi_handlers")
    }
    with superuser() as opened, opened.cursor() as cursor:
        cursor.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
        cursor.execute("CREATE DATABASE roles OWNER app")
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute("REVOKE ALL ON DATABASE roles FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC")
        cursor.execute("GRANT ALL ON SCHEMA public TO app")
    connection.close()
    connection.settings_dict = {**original, "USER": "app", "PASSWORD": "secret", "NAME": "roles"}
    try:
        call_command("migrate", verbosity=0)
        grant()
        with superuser("roles") as opened, opened.cursor() as cursor:
            for role in ("bemi_worker", "bemi_reader", "bemi_handlers"):
                cursor.execute(f"ALTER ROLE {role} PASSWORD 'secret'")
        yield made
    finally:
        connection.close()
        connection.settings_dict = original
        Pipeline.of_project(SLOT).release()
        with superuser("roles") as opened, opened.cursor() as cursor:
            cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE database = 'roles'")
            for slot in cursor.fetchall():
                cursor.execute("SELECT pg_drop_replication_slot(%s)", slot)
        with superuser() as opened, opened.cursor() as cursor:
            cursor.execute("DROP DATABASE roles WITH (FORCE)")
            for role in made:
                cursor.execute(f"DROP ROLE IF EXISTS {role}")


def grant() -> None:
    script = io.StringIO()
    call_command("bemi", "grants", "--handlers", "bemi_handlers", stdout=script)
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(script.getvalue())


def may(parameters: dict[str, Any], statement: str) -> bool:
    with closing(psycopg2.connect(**parameters)) as opened, opened.cursor() as cursor:
        try:
            cursor.execute(statement)
        except psycopg2.errors.InsufficientPrivilege:
            return False
        return True


@contextmanager
def django_as(parameters: dict[str, Any]) -> Iterator[None]:
    connection.close()
    owner = connection.settings_dict
    connection.settings_dict = {**owner, "USER": parameters["user"], "PASSWORD": parameters["password"]}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = owner
