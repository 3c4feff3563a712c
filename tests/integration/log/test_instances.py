"""A change as an instance of its model, before and after; and the object as it is now."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps

from bemi_django.exceptions import BemiError, NoModel, UnknownDatabase
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.shop.models import Category, Note, Order, Product, Review
from tests.support.exchanged_names import forget_names
from tests.support.pipeline import Drain
from tests.support.project_database import execute


def test_before_and_after_are_unsaved_instances_with_python_values(drain: Drain) -> None:
    Todo.objects.create(task="Sleep")
    Todo.objects.update(task="Dream")
    _, change = drain()
    before, after = change.as_instance("before"), change.as_instance()
    assert isinstance(before, Todo) and isinstance(after, Todo)
    assert (before.task, after.task, before.pk) == ("Sleep", "Dream", after.pk)
    assert before.created_at == Todo.objects.get().created_at and before.created_at.tzinfo is not None
    assert before._state.adding and before._state.db == "default"
    Todo.objects.all().delete()
    before.save()
    assert Todo.objects.get().task == "Sleep"


def test_a_side_that_is_not_there_is_an_error(drain: Drain) -> None:
    Todo.objects.create(task="x").delete()
    created, deleted = drain()
    for change, side in [(created, "before"), (deleted, "after")]:
        with pytest.raises(ValueError, match=f"has no row {side}"):
            change.as_instance(side)  # type: ignore[arg-type]


def test_numbers_are_exact(drain: Drain) -> None:
    price = Decimal("9999999999.10")
    Product.objects.create(sku="1", category=Category.objects.create(name="c"), price=price)
    (*_, change) = drain()
    product = change.as_instance()
    assert isinstance(product, Product) and str(product.price) == "9999999999.10"


def test_every_type_comes_back_as_its_field_gives_it(drain: Drain, shapes: Any) -> None:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=datetime.timezone.utc)
    stored = shapes.Everything.objects.create(**everything(now))
    (change,) = drain()
    instance = change.as_instance()
    read = shapes.Everything.objects.get(pk=stored.pk)
    for field in shapes.Everything._meta.fields:
        value, expected = getattr(instance, field.attname), getattr(read, field.attname)
        if field.name == "raw":
            assert value == bytes(expected) and type(value) is bytes
        else:
            assert (value, type(value)) == (expected, type(expected)), field.name


@pytest.fixture
def shapes() -> Any:
    """Models of every shape; they are not installed beside aldjemy, which does not know their types."""
    if not apps.is_installed("tests.shapes"):
        pytest.skip("tests.shapes is not installed beside aldjemy")
    return importlib.import_module("tests.shapes.models")


def everything(now: datetime.datetime) -> dict[str, Any]:
    import uuid

    from django.db.backends.postgresql.psycopg_any import DateTimeTZRange, NumericRange

    return {
        "big": 2**62,
        "flag": True,
        "real": 0.1,
        "amount": Decimal("123456789.100"),
        "name": "é",
        "day": now.date(),
        "moment": now,
        "clock": datetime.time(1, 2, 3),
        "span": datetime.timedelta(days=40, seconds=1.5),
        "raw": b"\0\xff",
        "address": "10.0.0.1",
        "key": uuid.uuid4(),
        "data": {"a": [1, 1.5, None]},
        "numbers": [1, 2],
        "grid": [["a", "b"]],
        "keys": [uuid.uuid4()],
        "pairs": {"a": "1", "b": None},
        "ints": NumericRange(1, 5),
        "moments": DateTimeTZRange(now, None),
        "cased": "Aa",
    }


@pytest.fixture
def altered(drain: Drain) -> Iterator[None]:
    """A time when columns had other names, were there, and were not there."""
    execute("ALTER TABLE todo RENAME COLUMN task TO title")
    execute("ALTER TABLE todo ADD COLUMN colour numeric")
    execute("ALTER TABLE todo DROP COLUMN is_completed")
    try:
        execute("INSERT INTO todo (title, colour, created_at) VALUES ('old', 1.10, now())")
    finally:
        execute("ALTER TABLE todo RENAME COLUMN title TO task")
        execute("ALTER TABLE todo DROP COLUMN colour")
        execute("ALTER TABLE todo ADD COLUMN is_completed boolean NOT NULL DEFAULT true")
        execute("ALTER TABLE todo ALTER COLUMN is_completed DROP DEFAULT")
    drain()
    yield
    forget_names("todo")


def test_renamed_and_dropped_columns_are_readable(altered: None, settings: Any) -> None:
    settings.BEMI_RENAMED_COLUMNS = {"public.todo": {"title": "task"}}
    todo: Any = Change.objects.for_model(Todo).created().get().as_instance()
    assert (todo.task, str(todo.colour), todo.is_completed) == ("old", "1.10", False)


def test_a_model_may_say_itself_what_was_renamed(altered: None, monkeypatch: Any) -> None:
    from bemi_django.log.history import History

    History({"title": "task"}).contribute_to_class(Todo, "history")
    try:
        todo: Any = Change.objects.for_model(Todo).created().get().as_instance()
        assert todo.task == "old"
    finally:
        del Todo.bemi_renamed_columns  # type: ignore[attr-defined]
        Todo.history = History()


def test_the_object_of_a_change_is_the_live_one(drain: Drain) -> None:
    todo = Todo.objects.create(task="x")
    Todo.objects.update(task="y")
    created, _ = drain()
    live = created.object
    assert isinstance(live, Todo) and live == todo and live.task == "y"
    todo.delete()
    assert created.object is None
    (*_, deleted) = drain()
    assert deleted.object is None


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_table_or_database_that_django_does_not_know_is_an_error_that_says_so(drain: Drain) -> None:
    execute("CREATE TABLE bare (id int PRIMARY KEY)")
    try:
        execute("INSERT INTO bare VALUES (1)")
        change = next(change for change in drain() if change.table == "bare")
        with pytest.raises(NoModel, match=r"no model has the table public\.bare"):
            _ = change.object
        change.database = "elsewhere"
        with pytest.raises(UnknownDatabase, match="no entry of DATABASES is the database 'elsewhere'"):
            change.as_instance()
    finally:
        execute("DROP TABLE bare")


def test_a_composite_key_names_object_and_instance(drain: Drain, shapes: Any) -> None:
    if not hasattr(shapes, "Line"):
        pytest.skip("composite keys came with Django 5.2")
    odd = shapes.Odd.objects.create(percent=1, metadata="m")
    line = shapes.Line.objects.create(order=odd, number=7, text="a")
    drain()
    (change,) = Change.objects.for_object(line)
    assert change.object == line and change.as_instance().pk == (odd.pk, 7)
    assert set(Change.objects.for_object(odd, related=["lines"])) == {change, *Change.objects.for_object(odd)}


def test_an_object_has_the_changes_of_all_tables_that_it_inherits_from(drain: Drain, shapes: Any) -> None:
    pizzeria = shapes.Pizzeria.objects.create(name="a", stars=1, oven="gas")
    shapes.Pizzeria.objects.create(name="b")
    drain()
    tables = ["shapes_place", "shapes_restaurant", "shapes_pizzeria"]
    assert [change.table for change in Change.objects.for_object(pizzeria)] == tables
    bare = shapes.Pizzeria(pk=pizzeria.pk)
    assert [change.table for change in Change.objects.for_object(bare)] == tables
    grand = shapes.Grand.objects.get(pk=pizzeria.pk)
    review = shapes.Review.objects.create(of=grand)
    drain()
    assert Change.objects.for_object(grand, related=["reviews"]).get(table="shapes_review").object == review
    pizzeria.delete()
    drain()
    Change.objects.for_model(shapes.Pizzeria).deleted().get().revert()
    assert shapes.Review.objects.get().of.name == "a"


def test_what_is_between_two_objects_is_shown_on_both(drain: Drain) -> None:
    todo, other = Todo.objects.create(task="x"), Todo.objects.create(task="y")
    tag = Tag.objects.create(name="a")
    todo.tags.add(tag)
    other.tags.add(Tag.objects.create(name="b"))
    todo.tags.remove(tag)
    drain()
    between = [("todo_tags", "CREATE"), ("todo_tags", "DELETE")]
    for instance, table, name in [(todo, "todo", "tags"), (tag, "tag", "todos")]:
        changes = Change.objects.for_object(instance, related=[name])
        assert [(change.table, change.operation) for change in changes] == [(table, "CREATE"), *between]
        assert list(Change.objects.for_object(instance, related=True)) == list(changes)


def test_children_are_in_the_history_of_their_parent(drain: Drain) -> None:
    category = Category.objects.create(name="c")
    product = Product.objects.create(sku="1", category=category)
    review = Review.objects.create(product=product, text="good")
    order = Order.objects.create(number="1")
    order.products.add(product)
    review.delete()
    drain()
    tables = ["shop_product", "shop_review", "shop_order_products", "shop_review"]
    changes = Change.objects.for_object(product, related=True)
    assert [change.table for change in changes] == tables
    named = Change.objects.for_object(product, related=["reviews"])
    assert {change.table for change in named} == {"shop_product", "shop_review"}
    with pytest.raises(BemiError, match="no rows refer to Product by a relation nothing"):
        Change.objects.for_object(product, related=["nothing"])


def test_generic_relations_belong_to_their_object(drain: Drain) -> None:
    order = Order.objects.create(number="1")
    Note.objects.create(about=order, text="late")
    Note.objects.create(about=Tag.objects.create(name="a"), text="of another")
    drain()
    changes = Change.objects.for_object(order, related=["notes"])
    assert [change.after.get("text") for change in changes] == [None, "late"]
    notes = Change.objects.for_model(Note)
    assert [change.after["text"] for change in notes.after({"about": order})] == ["late"]
    assert [change.after["text"] for change in notes.after_not({"about": order})] == ["of another"]
    assert notes.after({"pk": Note.objects.get(text="late").pk}).get() in changes


def test_history_is_of_the_class_and_of_the_instance(drain: Drain) -> None:
    todo = Todo.objects.create(task="x")
    Todo.objects.create(task="y")
    Todo.objects.filter(pk=todo.pk).update(task="z")
    drain()
    assert Todo.history.created().count() == 2
    assert [change.after["task"] for change in todo.history.updated()] == ["z"]
