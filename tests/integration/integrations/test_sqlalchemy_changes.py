"""The mapped ``Change`` of SQLAlchemy answers as ``Change.objects`` does."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from bemi_django import bound_context
from bemi_django.models import Change as DjangoChange
from bemi_django.schema import tracking
from sample_project.todos.models import Tag, Todo
from tests.shop.models import Category, Product
from tests.support.pipeline import Drain

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")

from sqlalchemy import (  # noqa: E402
    JSON,
    BigInteger,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Interval,
    Numeric,
    Table,
    Text,
    TypeDecorator,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.orm import Session, registry, relationship  # noqa: E402

from bemi_django.integrations import sqlalchemy_changes as log  # noqa: E402

_registry = registry()
_tags = Table("tag", _registry.metadata, Column("id", BigInteger, primary_key=True), Column("name", Text))
_todos = Table("todo", _registry.metadata, Column("id", BigInteger, primary_key=True), Column("task", Text))
_todo_tags = Table(
    "todo_tags",
    _registry.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("todo_id", ForeignKey("todo.id")),
    Column("tag_id", ForeignKey("tag.id")),
)
_categories = Table("shop_category", _registry.metadata, Column("id", BigInteger, primary_key=True))
_products = Table(
    "shop_product",
    _registry.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("price", Numeric(12, 2)),
    Column("category_id", ForeignKey("shop_category.id")),
)

_pairs = Table(
    "pair",
    _registry.metadata,
    Column("amount", Numeric(8, 2), primary_key=True),
    Column("day", DateTime(timezone=True), primary_key=True),
)


class Colour(enum.Enum):
    """SQLAlchemy stores the names."""

    RED = "r"
    BLUE = "b"


_paintings = Table(
    "A painting", _registry.metadata, Column("colour", Enum(Colour, native_enum=False), primary_key=True)
)


class Folded(TypeDecorator):  # type: ignore[type-arg]
    """JSON that a project stores in another form."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        """Store the lower case."""
        return {key.lower(): part for key, part in value.items()}


_papers = Table("paper", _registry.metadata, Column("doc", Folded), Column("tone", Enum(Colour)))
_shifts = Table("shift", _registry.metadata, Column("length", Interval, primary_key=True))


class _Painting: ...


class _Shift:
    length: Any


class _Tag: ...


class _Todo: ...


class _Category: ...


class _Product: ...


class _Pair:
    amount: Any
    day: Any


_registry.map_imperatively(_Tag, _tags)
_registry.map_imperatively(_Todo, _todos, properties={"tags": relationship(_Tag, secondary=_todo_tags)})
_registry.map_imperatively(_Category, _categories, properties={"products": relationship(_Product)})
_registry.map_imperatively(
    _Product, _products, properties={"category": relationship(_Category, viewonly=True)}
)
_registry.map_imperatively(_Pair, _pairs)
_registry.map_imperatively(_Painting, _paintings)
_registry.map_imperatively(_Shift, _shifts)


@pytest.fixture
def session(engine: Any) -> Any:
    with Session(engine, future=True) as session:
        yield session


@pytest.fixture
def todo(drain: Drain) -> Todo:
    with bound_context(user_id=7, request_id="r1"):
        todo: Todo = Todo.objects.create(task="Sleep")
        Todo.objects.create(task="Eat")
    with bound_context(user_id=8, request_id="r2"):
        todo.task = "Dream"
        todo.save()
        todo.tags.add(Tag.objects.create(name="a"))
        todo.delete()
    drain()
    return todo


def found(session: Any, *criteria: Any) -> list[Any]:
    statement = select(log.Change).where(*criteria).order_by(log.Change.id)
    return [change.id for change in session.execute(statement).scalars()]


def ids(changes: Any) -> list[Any]:
    return [change.pk for change in changes]


def test_each_criterion_finds_what_its_method_does(todo: Todo, session: Any) -> None:
    changes = DjangoChange.objects.all()
    first = changes[0]
    hour, now = timedelta(hours=1), django_timezone.now()
    for criterion, same in [
        (log.created(), changes.created()),
        (log.updated(), changes.updated()),
        (log.deleted(), changes.deleted()),
        (log.before({"task": "Sleep"}), changes.before({"task": "Sleep"})),
        (log.before_not({"task": "Sleep"}), changes.before_not({"task": "Sleep"})),
        (log.after({"task": "Eat"}), changes.after({"task": "Eat"})),
        (log.after_not({"task": "Eat"}), changes.after_not({"task": "Eat"})),
        (log.context({"user_id": 7}), changes.context({"user_id": 7})),
        (log.context_not({"user_id": 7}), changes.context_not({"user_id": 7})),
        (log.field_changed("task"), changes.field_changed("task")),
        (log.field_changed("task", from_="Sleep", to="Dream"), changes.field_changed("task")),
        (log.by(8), changes.by(8)),
        (log.in_request("r1"), changes.in_request("r1")),
        (log.in_transaction(first.transaction_id), changes.in_transaction(first.transaction_id)),
        (log.between(now - hour, now + hour), changes),
        (log.for_model(_Todo), changes.for_model(Todo)),
        (log.for_model(_todo_tags), changes.for_model(Todo.tags.through)),
        (log.for_table("tag", database=first.database), changes.for_model(Tag)),
    ]:
        assert found(session, criterion) == ids(same) != []
    assert found(session, log.field_changed("task", to="Eat")) == []
    assert found(session, log.outside()) == found(session, log.for_table("tag", "annex")) == []
    assert found(session, log.for_table("tag", database="another")) == []


def test_what_psql_does_is_outside(drain: Drain, observer: Any, session: Any) -> None:
    observer.execute("INSERT INTO tag (name) VALUES ('x')")
    drain()
    assert found(session, log.outside()) == ids(DjangoChange.objects.outside()) != []
    # A worker with keys writes the mark, and no context can.
    DjangoChange.objects.update(context={"unverified": True})
    assert found(session, log.unverified()) == ids(DjangoChange.objects.unverified()) != []


def test_an_object_and_what_refers_to_it(drain: Drain, session: Any) -> None:
    todo, tag = Todo.objects.create(task="x"), Tag.objects.create(name="a")
    todo.tags.add(tag)
    category = Category.objects.create(name="c")
    Product.objects.create(sku="1", category=category)
    drain()
    mapped = session.get(_Todo, todo.pk)
    changes = DjangoChange.objects
    assert found(session, log.for_object(mapped)) == ids(changes.for_object(todo))
    for related in (True, ["tags"]):
        assert found(session, log.for_object(mapped, related=related)) == ids(
            changes.for_object(todo, related=["tags"])
        )
    with pytest.raises(ValueError, match="no relationship tag$"):
        log.for_object(mapped, related=["tag"])
    shop = session.get(_Category, category.pk)
    children = found(session, log.for_object(shop, related=True, database=changes.latest("id").database))
    assert children == ids(changes.for_object(category, related=True)) and len(children) == 2


def test_an_object_is_followed_through_its_keys(drain: Drain, session: Any) -> None:
    Todo.objects.create(pk=500, task="first")
    for key in (501, 502, 503):
        Todo.objects.filter(task="first").update(id=key)
    Todo.objects.create(pk=501, task="second")
    Todo.objects.filter(pk=501).update(task="second too")
    Todo.objects.filter(pk=501).update(id=504)
    drain()
    for key, count in ((503, 4), (504, 3)):
        mapped = session.get(_Todo, key)
        expected = ids(DjangoChange.objects.for_object(Todo(pk=key)))
        assert found(session, log.for_object(mapped)) == expected and len(expected) == count
        session.expunge(mapped)
        with pytest.raises(ValueError, match="pass session="):
            log.for_object(mapped)
        assert found(session, log.for_object(mapped, session=session)) == expected


def test_keys_of_parts_and_of_exact_numbers_are_printed_as_the_worker_does(
    drain: Drain, session: Any
) -> None:
    session.execute(
        text("CREATE TABLE pair (amount numeric(8, 2), day timestamptz, PRIMARY KEY (amount, day))")
    )
    session.commit()
    try:
        day = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=timezone(timedelta(hours=5)))
        pair = _Pair()
        pair.amount, pair.day = Decimal("1.5"), day
        session.add(pair)
        session.commit()
        drain()
        assert len(found(session, log.for_object(pair, related=True))) == 1
    finally:
        session.rollback()
        session.execute(text("DROP TABLE pair"))
        session.commit()


def test_objects_stand_for_their_keys_and_attributes_for_their_columns() -> None:
    tag, painting, pair = _Tag(), _Painting(), _Pair()
    tag.id, painting.colour = 7, Colour.RED  # type: ignore[attr-defined]
    linked = _todo_tags.c.tag_id
    for criterion, expected in (
        (log.by(tag), '{"user_id": 7}'),
        (log.before({"tag_id": tag}), '{"tag_id": 7}'),
        (log.after({linked: tag}), '{"tag_id": 7}'),
        (log.field_changed(linked, from_=tag), '{"tag_id": 7}'),
        (log.after({"of": painting}), '{"of": "RED"}'),
        (log.after({_papers.c.doc: {"A": 1}}), '{"doc": {"a": 1}}'),
    ):
        assert expected in criterion.compile().params.values()
    with pytest.raises(TypeError, match="is not a column"):
        log.after({func.lower(linked): tag})
    with pytest.raises(TypeError, match="a key of 2 columns"):
        log.by(pair)


def test_an_interval_is_a_key(drain: Drain, session: Any) -> None:
    shift = _Shift()
    shift.length = timedelta(hours=5, seconds=1)
    query = select(log.Change).where(log.for_object(shift, session=session))
    assert "05:00:01" in query.compile().params.values()
    assert session.execute(query).all() == []


def test_a_table_is_where_the_search_path_finds_it(drain: Drain, session: Any) -> None:
    """Two schemas have a table of the same name, and neither of the mapped ones names its own."""
    try:
        for schema, colour in (("lab", "RED"), ("lab2", "BLUE")):
            with override_settings(BEMI_INCLUDE=["public.*", "lab*.*"]):
                session.execute(text(f"CREATE SCHEMA {schema}"))
                session.execute(text(f'CREATE TABLE {schema}."A painting" (colour text PRIMARY KEY, n int)'))
                session.commit()
                tracking.sync()
            session.execute(text(f"INSERT INTO {schema}.\"A painting\" VALUES ('{colour}', 1)"))  # noqa: S608
            session.commit()
        drain()
        for schema, stored in (("lab", Colour.RED), ("lab2", Colour.BLUE)):
            session.execute(text(f"SET LOCAL search_path = {schema}, public"))
            painting = session.get(_Painting, stored)
            of_model, attribute = log.for_model(_Painting), inspect(_Painting).attrs.colour.class_attribute
            by_value = (log.after({each: stored}) for each in ("colour", attribute, _paintings.c.colour))
            for criterion in (log.for_object(painting), of_model, *(of_model & one for one in by_value)):
                (change,) = session.execute(select(log.Change).where(criterion)).scalars()
                assert (change.schema, change.primary_key) == (schema, stored.name)
    finally:
        session.rollback()
        session.execute(text("DROP SCHEMA IF EXISTS lab CASCADE"))
        session.execute(text("DROP SCHEMA IF EXISTS lab2 CASCADE"))
        session.commit()
        tracking.sync()


def test_changes_are_read_to_the_last_digit(drain: Drain, session: Any) -> None:
    category = Category.objects.create(name="c")
    product = Product.objects.create(sku="1", category=category, price=Decimal("1234567890.10"))
    product.price = Decimal("1234567890.12")
    product.save()
    (*_, change) = drain()
    (read,) = session.execute(select(log.Change).where(log.updated())).scalars()
    assert read.diff() == change.diff()
    assert str(read.diff()["price"]) == "(1234567890.10, 1234567890.12)"
    assert repr(read) == f"<Change UPDATE public.shop_product {product.pk}>"
