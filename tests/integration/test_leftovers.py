"""No test leaves anything behind that another one could stumble over: what is left is emptied, or named."""

from __future__ import annotations

import pytest
from django.db import connection

from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.places import place_of
from sample_project.todos.models import Todo
from tests.support import roles
from tests.support.exchanged_names import called
from tests.support.leftovers import Standing, forget
from tests.support.pipeline import Drain
from tests.support.project_database import execute


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_is_left_is_named(standing: Standing) -> None:
    name = connection.settings_dict["NAME"]
    assert standing.changes() == []
    with roles.administrator(name) as cursor:
        cursor.execute("CREATE SCHEMA left_over CREATE TABLE t (n int); CREATE ROLE left_over")
        cursor.execute(f"ALTER ROLE left_over IN DATABASE {name} SET jit = off")
        cursor.execute("SELECT pg_create_physical_replication_slot('left_physical')")
        cursor.execute("SELECT pg_create_logical_replication_slot('left_logical', 'pgoutput')")
        try:
            found = standing.changes()
        finally:
            cursor.execute(f"ALTER ROLE left_over IN DATABASE {name} RESET ALL")
            cursor.execute("DROP SCHEMA left_over CASCADE; DROP ROLE left_over")
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE slot_name IN ('left_physical', 'left_logical')"
            )
    assert {
        "left in default: schema left_over",
        "left in default: relation left_over.t r p identity d",
        "left in default: column left_over.t n integer",
        "left in default: replication slot left_logical",
        "left in default: replication slot left_physical",
        f"left in default: setting of {name} left_over {{jit=off}}",
        "left in other: role left_over",
    } <= set(found)
    assert sorted(standing.changes()) == sorted(line.replace("left", "gone", 1) for line in found)


def test_former_names_of_columns_and_records_are_forgotten(drain: Drain) -> None:
    with called("todo", "task", "chore"):
        execute("INSERT INTO _bemi.omitted_columns VALUES ('gone', 'public', 'todo', 'task', 1)")
    drain()
    descriptions = "SELECT count(*) FROM _bemi.relations WHERE relation = 'todo'::regclass"
    assert column_names(place_of(Todo, "default"), Todo).former("task") == {"task", "chore"}
    assert execute(descriptions) > [(1,)]
    forget("default")
    # The slot of the worker needs it.
    assert execute(descriptions) > [(1,)]
    with roles.administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute("SELECT pg_drop_replication_slot('bemi_test')")
    forget("default")
    assert execute(descriptions) == [(1,)]
    assert column_names(place_of(Todo, "default"), Todo).former("task") == {"task"}
    assert execute("SELECT slot FROM _bemi.omitted_columns") == []
