"""A change is from outside if no hook of ours was there, whatever the context."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from bemi_django import apply_context, bound_context, conf
from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.support import drivers
from tests.support.drivers import Driver, Note
from tests.support.pipeline import Drain
from tests.support.project_database import execute

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

from sqlalchemy.pool import NullPool  # noqa: E402

from bemi_django.integrations import sqlalchemy_changes as log  # noqa: E402

RESERVED = ("SQL", "db_user", "application_name")


@pytest.fixture
def notes(transactional_db: None) -> Iterator[None]:
    execute(drivers.TABLE)
    tracking.sync()
    yield
    execute("DROP TABLE note")


def change_of(drain: Drain) -> Change:
    (change,) = drain()
    return change


def is_outside(change: Change) -> bool:
    """Ask Django and SQLAlchemy, which must agree."""
    found = Change.objects.outside().filter(pk=change.pk).exists()
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect, poolclass=NullPool)
    query = sqlalchemy.select(log.Change.id).where(log.outside(), log.Change.id == change.pk)
    with engine.connect() as opened:
        assert bool(opened.execute(query).all()) is found
    return found


def connect() -> Any:
    return psycopg2.connect(**conf.connection_parameters("default"))


@pytest.mark.parametrize("driver", drivers.EVERY)
def test_only_without_a_hook_a_change_is_from_outside(notes: None, drain: Drain, driver: Driver) -> None:
    with driver() as insert:
        insert(Note("a", "x", b""))
        first = change_of(drain)
        with bound_context(user_id=7):
            insert(Note("b", "x", b""))
        second = change_of(drain)
        insert(Note("c", "x", b""))
    third = change_of(drain)
    assert [is_outside(change) for change in (first, third)] == [not drivers.is_hooked(driver)] * 2
    assert not is_outside(second) and second.context["user_id"] == 7
    for change in (first, third):
        assert change.context["SQL"].startswith("INSERT INTO note (id")
        assert ("db_user" in change.context) is not drivers.is_hooked(driver)


def test_the_context_of_a_transaction_may_be_empty(notes: None, drain: Drain) -> None:
    with transaction.atomic():
        apply_context()
        with connection.connection.cursor() as cursor:
            cursor.execute("INSERT INTO note (id) VALUES ('a')")
    assert not is_outside(change_of(drain))
    # The transaction is over, and its context with it.
    with connection.connection.cursor() as cursor:
        cursor.execute("INSERT INTO note (id) VALUES ('b')")
    assert is_outside(change_of(drain))


#: What a script may send as its context, and what is recorded of it.
SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "each": (
        '{"SQL": "x", "db_user": "y", "application_name": "z", "a": 1}',
        {"app_SQL": "x", "app_db_user": "y", "app_application_name": "z", "a": 1},
    ),
    "only one": ('{"db_user":"y"}', {"app_db_user": "y"}),
    "blanks": (' {\n "db_user" : null }', {"app_db_user": None}),
    "escaped": ('{"db\\u005fuser": "y", "\\u0053QL": [1]}', {"app_db_user": "y", "app_SQL": [1]}),
    "both": (
        '{"app_SQL": 1, "SQL": 2, "app_app_app_SQL": 3}',
        {"app_SQL": 1, "app_app_SQL": 2, "app_app_app_SQL": 3},
    ),
    "twice": ('{"db_user": "y", "db_user": "z"}', {"app_db_user": "z"}),
    "inside": (
        '{"a": {"SQL": 1, "db_user": 2}, "b": "\\"db_user\\": 3"}',
        {"a": {"SQL": 1, "db_user": 2}, "b": '"db_user": 3'},
    ),
    "a value": ('{"key": "db_user", "n": 1.50}', {"key": "db_user", "n": 1.5}),
    "similar": ('{"sql": "x", "DB_USER": "y"}', {"sql": "x", "DB_USER": "y"}),
}


@pytest.mark.parametrize("sent", SENT)
def test_a_context_without_a_hook_cannot_take_our_names(notes: None, drain: Drain, sent: str) -> None:
    text, expected = SENT[sent]
    statement = "INSERT INTO note (id) VALUES ('a')"
    with closing(connect()) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT set_config('bemi.context', %s, true)", [text])
        cursor.execute(statement)
        opened.commit()
    change = change_of(drain)
    assert change.context == {**expected, "SQL": statement}
    assert not is_outside(change)


CONTEXTS = st.dictionaries(
    st.sampled_from(
        [
            "SQL",
            "app_SQL",
            "app_app_SQL",
            "db_user",
            "app_db_user",
            "application_name",
            "user_id",
            "é",
            "db\\_user",
            "",
        ]
    ),
    st.recursive(
        st.none() | st.integers() | st.text('aé\\"u0Sdb_user,:{}', max_size=9), st.lists, max_leaves=3
    ),
    max_size=6,
)


def renamed(context: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a context: a name of ours gets ``app_`` until no other key has it."""
    free = {
        key: next(name for number in range(1, 9) if (name := "app_" * number + key) not in context)
        for key in RESERVED
    }
    return {free.get(key, key): value for key, value in context.items()}


def test_any_context_without_a_hook_keeps_its_values_under_other_names(notes: None, drain: Drain) -> None:
    statement = "INSERT INTO note (id) VALUES (gen_random_uuid())"

    @given(st.lists(st.tuples(CONTEXTS, st.booleans()), min_size=1, max_size=20))
    @settings(max_examples=15)
    def check(sent: list[tuple[dict[str, Any], bool]]) -> None:
        with closing(connect()) as opened, opened.cursor() as cursor:
            for context, is_ascii in sent:
                text = json.dumps(context, ensure_ascii=is_ascii)
                cursor.execute("SELECT set_config('bemi.context', %s, true)", [text])
                cursor.execute(statement)
                opened.commit()
        found = [change.context for change in drain()]
        assert [{**one, "application_name": ""} for one in found] == [
            {
                **renamed(context),
                "SQL": statement,
                "application_name": "",
            }
            for context, _ in sent
        ]

    check()
