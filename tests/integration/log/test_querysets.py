"""``Change.objects`` in the words of the trade, on changes as the worker wrote them."""

from __future__ import annotations

import datetime
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import django
import pytest
from django.db import connection, models
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from bemi_django import bound_context
from bemi_django.log.keys import key_of
from bemi_django.models import Change
from bemi_django.schema import tracking
from sample_project.todos.models import Tag, Todo
from tests.support.pipeline import Drain


@pytest.fixture
def todo(drain: Drain) -> Todo:
    with bound_context(user_id=7, request_id="r1"):
        todo: Todo = Todo.objects.create(task="Sleep")
        Todo.objects.create(task="Eat")
    with bound_context(user_id=8, request_id="r2"):
        todo.task = "Dream"
        todo.save()
        todo.is_completed = True
        todo.save()
    drain()
    return todo


def operations(changes: Any) -> list[str]:
    return [change.operation for change in changes]


def test_changes_of_an_object_a_model_and_an_operation(todo: Todo) -> None:
    assert operations(Change.objects.for_object(todo)) == ["CREATE", "UPDATE", "UPDATE"]
    assert operations(Change.objects.for_model(Todo)) == ["CREATE", "CREATE", "UPDATE", "UPDATE"]
    assert not Change.objects.for_model(Tag).exists()
    assert Change.objects.for_model(Todo).created().count() == 2
    assert Change.objects.for_object(todo).updated().count() == 2
    assert not Change.objects.for_object(todo).deleted().exists()


def test_a_key_that_changed_is_found_under_both(drain: Drain) -> None:
    todo = Todo.objects.create(task="x")
    old = todo.pk
    Todo.objects.filter(pk=old).update(id=old + 1000)
    drain()
    assert operations(Change.objects.for_object(todo)) == ["CREATE", "UPDATE"]
    assert operations(Change.objects.for_object(Todo(pk=old + 1000))) == ["CREATE", "UPDATE"]


def test_values_before_and_after_and_their_negation(todo: Todo) -> None:
    changes = Change.objects.for_model(Todo)
    assert [change.after["task"] for change in changes.before({"task": "Sleep"})] == ["Dream"]
    assert changes.after({"task": "Dream"}).count() == 2
    assert changes.after_not({"task": "Dream"}).count() == 2
    assert changes.before_not({"task": "Sleep"}).count() == 3
    assert changes.context({"user_id": 7}).count() == changes.context_not({"user_id": 7}).count() == 2


def test_a_field_that_changed(todo: Todo) -> None:
    changes = Change.objects.for_object(todo)
    (renamed,) = changes.field_changed("task")
    assert renamed.diff() == {"task": ("Sleep", "Dream")}
    (completed,) = changes.field_changed("is_completed", from_=False, to=True)
    assert completed.diff() == {"is_completed": (False, True)}
    assert not changes.field_changed("task", to="Eat").exists()
    assert not changes.field_changed("task", from_="Eat").exists()
    assert not changes.field_changed("no such column").exists()
    assert not changes.field_changed("owner_id").exists() and not changes.field_changed("owner").exists()
    assert (
        changes.after({"owner": todo.owner}).count() == changes.after({"owner_id": todo.owner_id}).count() > 0
    )


def test_by_user_request_transaction_and_time(todo: Todo, django_user_model: Any) -> None:
    changes = Change.objects.for_model(Todo)
    assert changes.by(7).count() == changes.by(django_user_model(pk=8)).count() == 2
    assert operations(changes.in_request("r2")) == ["UPDATE", "UPDATE"]
    first = changes.first()
    assert first is not None
    assert list(Change.objects.in_transaction(first.transaction_id)) == [first]
    now = timezone.now()
    assert changes.between(now - timedelta(hours=1), now + timedelta(hours=1)).count() == 4
    assert not changes.between(first.committed_at - timedelta(hours=1), first.committed_at).exists()


def test_the_order_is_that_of_commits(todo: Todo) -> None:
    changes = Change.objects.for_object(todo)
    assert operations(changes.asc()) == ["CREATE", "UPDATE", "UPDATE"]
    assert [change.pk for change in changes.desc()] == [change.pk for change in reversed(changes)]


def test_a_table_in_another_schema_is_told_from_its_namesake(drain: Drain, settings: Any) -> None:
    settings.BEMI_INCLUDE = ["public.*", "annex.*"]

    class Annexed(models.Model):  # noqa: DJ008 - nobody prints it
        class Meta:
            app_label = "annex"
            db_table = '"annex"."todo"'
            managed = False

    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA annex")
        try:
            tracking.sync()
            cursor.execute("CREATE TABLE annex.todo (id int PRIMARY KEY); INSERT INTO annex.todo VALUES (1)")
            Todo.objects.create(pk=1, task="x")
            drain()
            (there,) = Change.objects.for_model(Annexed)
            (here,) = Change.objects.for_model(Todo)
            assert (there.schema, here.schema) == ("annex", "public")
            cursor.execute("SET search_path = annex, public")
            assert Change.objects.for_model(Todo).get() == there
        finally:
            cursor.execute("RESET search_path; DROP SCHEMA annex CASCADE")


FIELDS: list[tuple[models.Field[Any, Any], str, st.SearchStrategy[Any]]] = [
    (models.BigIntegerField(primary_key=True), "bigint", st.integers(1 - 2**63, 2**63 - 1)),
    (models.UUIDField(primary_key=True), "uuid", st.uuids()),
    (
        models.TextField(primary_key=True),
        "text",
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    ),
    (models.DateField(primary_key=True), "date", st.dates()),
    (
        models.DateTimeField(primary_key=True),
        "timestamptz",
        st.datetimes(timezones=st.just(datetime.timezone(timedelta(hours=5)))),
    ),
    (models.TimeField(primary_key=True), "time", st.times()),
    (
        models.DecimalField(primary_key=True, max_digits=12, decimal_places=4),
        "numeric(12,4)",
        st.decimals(-(10**7), 10**7, places=3),
    ),
    (models.BooleanField(primary_key=True), "bool", st.booleans()),
    (models.BinaryField(primary_key=True), "bytea", st.binary()),
]


@pytest.mark.parametrize(("field", "kind", "values"), FIELDS, ids=[kind for _, kind, _ in FIELDS])
def test_a_key_is_written_as_the_server_prints_it(
    db: None, field: Any, kind: str, values: st.SearchStrategy[Any]
) -> None:
    model: Any = type(
        "Keyed",
        (models.Model,),
        {
            "__module__": __name__,
            "key": field.clone(),
            "Meta": type("Meta", (), {"app_label": f"keys_{kind.split('(')[0]}"}),
        },
    )

    @given(values)
    def check(value: Any) -> None:
        prepared = model._meta.pk.get_db_prep_save(value, connection)
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SELECT format('%%s', %s::{kind})", [prepared])
            assert key_of(model(key=value)) == cursor.fetchone()[0]

    check()


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite keys came with Django 5.2")
def test_the_parts_of_a_composite_key_are_written_as_the_worker_does(drain: Drain) -> None:
    class Pair(models.Model):  # noqa: DJ008 - nobody prints it
        pk = models.CompositePrimaryKey("word", "number", "price", "day", "is_open", "code")
        number = models.IntegerField()
        word = models.TextField()
        price = models.DecimalField(max_digits=8, decimal_places=2)
        day = models.DateTimeField()
        is_open = models.BooleanField()
        code = models.UUIDField()

        class Meta:
            app_label = "pairs"
            db_table = "pair"
            managed = False

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE pair (number int, word text, price numeric(8, 2), day timestamptz, is_open bool, "
            "code uuid, PRIMARY KEY (word, number, price, day, is_open, code))"
        )
    try:
        day = datetime.datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=datetime.timezone.utc)
        pair = Pair(number=-1, word='é "q" \\', price=Decimal("1.5"), day=day, is_open=True)
        pair.code = uuid.UUID(int=7)
        pair.save(force_insert=True)
        drain()
        (change,) = Change.objects.for_object(pair)
        assert change.primary_key == key_of(pair)
        of_pairs = Change.objects.for_model(Pair)
        assert of_pairs.after({"pk": pair.pk}).count() == 1 == of_pairs.after_not({"pk": None}).count()
        assert of_pairs.after({"pk": ("x", *pair.pk[1:])}).count() == 0
        for wrong in (pair.pk[1:], (*pair.pk, 1), (), "x", 1):
            with pytest.raises(ValueError, match="the key has 6 columns, and a .* pass a tuple"):
                of_pairs.after({"pk": wrong})
        Pair._base_manager.filter(number=-1).update(number=2)
        drain()
        moved = of_pairs.field_changed("pk", from_=pair, to=Pair._base_manager.get().pk)
        assert of_pairs.field_changed("pk").get() == moved.get()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE pair")
