"""Mapped classes: Django's names, keys, relationships and inheritance."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.db import connection

from sample_project.todos.models import Tag, Todo

# It skips the module where SQLAlchemy is older; the shapes are not installed there.
from tests.support.bridge import bridge, sqlalchemy

# isort: split
from tests.shapes import models

pytestmark = pytest.mark.django_db


@pytest.fixture
def shapes() -> Any:
    return bridge.models_of("shapes")


def test_models_are_found_by_app_and_by_model(shapes: Any) -> None:
    assert bridge.mapped(Todo) is bridge.models_of("todos").Todo is bridge.models_of("todos")["Todo"]
    assert set(bridge.models_of("todos")) == {"Tag", "Todo", "Todo_tags"}
    assert len(shapes) > 10
    assert bridge.mapped(models.Grand) is shapes.Grand is shapes.Restaurant
    with pytest.raises(AttributeError, match="'shapes' has no model 'Named'"):
        assert shapes.Named
    with pytest.raises(LookupError):
        bridge.models_of("nowhere")


def test_a_mapped_class_takes_keywords_and_shows_its_key(shapes: Any) -> None:
    assert repr(shapes.Elsewhere(code="x")) == "<Elsewhere 'x'>"
    assert shapes.Elsewhere.django_model is models.Elsewhere
    with pytest.raises(TypeError, match="Elsewhere has no 'kode'"):
        shapes.Elsewhere(kode="x")


def test_keys_are_relationships_from_both_sides() -> None:
    todos, auth = bridge.models_of("todos"), bridge.models_of("auth")
    user = User.objects.create(username="ann")
    with bridge.get_session() as session:
        owner = session.get(auth.User, user.pk)
        session.add(todos.Todo(task="new", owner=owner))
        session.commit()
        assert [todo.task for todo in owner.todos] == ["new"]
        assert owner.todos[0].owner_id == user.pk
    assert Todo.objects.get().owner == user


def test_many_to_many_is_written_from_both_sides() -> None:
    todos = bridge.models_of("todos")
    with bridge.get_session() as session:
        todo = todos.Todo(task="new", tags=[todos.Tag(name="a")])
        session.add_all([todo, todos.Tag(name="b", todos=[todo])])
        session.commit()
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(todos.Todo_tags)) == 2
    assert {tag.name for tag in Todo.objects.get().tags.all()} == {"a", "b"}
    with bridge.get_session() as session:
        session.delete(session.scalars(sqlalchemy.select(todos.Todo)).one())
        session.commit()
    assert Tag.objects.count() == 2
    connection.check_constraints()


def test_names_keys_and_schemas_of_any_spelling(shapes: Any) -> None:
    with bridge.get_session() as session:
        top = shapes.Odd(percent=1, metadata="x")
        session.add(shapes.Odd(percent=2, metadata="y", parent=top))
        session.add(shapes.Elsewhere(code="c", odd=top))
        session.commit()
        assert [child.percent for child in top.children] == [2]
        assert top.elsewhere.code == "c"
        assert isinstance(top.id, uuid.UUID)
    odd = models.Odd.objects.get(percent=1)
    assert odd.elsewhere.code == "c" and odd.children.get().metadata == "y"


def test_a_hidden_reverse_side_does_not_exist(shapes: Any) -> None:
    names = set(sqlalchemy.inspect(shapes.Person).relationships.keys())
    assert names == {"boss", "friends", "follows", "followers", "places", "visited", "shifts", "visit_set"}


def test_a_model_may_refer_to_itself(shapes: Any) -> None:
    ann = models.Person.objects.create(name="ann")
    ben = models.Person.objects.create(name="ben", boss=ann)
    ann.friends.add(ben)
    with bridge.get_session() as session:
        found = session.get(shapes.Person, ben.pk)
        assert found.boss.name == "ann"
        assert [friend.name for friend in found.friends] == ["ann"]
        found.follows.append(found.boss)
        session.commit()
        assert [person.name for person in found.boss.followers] == ["ben"]
    assert ann.followers.get() == ben


def test_a_child_of_a_model_writes_all_its_tables(shapes: Any) -> None:
    owner = models.Person.objects.create(name="ann")
    with bridge.get_session() as session:
        made = shapes.Pizzeria(name="Da", stars=2, owner=session.get(shapes.Person, owner.pk))
        session.add(made)
        session.commit()
        assert made.id == made.place_ptr_id == made.restaurant_ptr_id
        made.name, made.oven = "Mamma", "gas"
        session.commit()
        place = session.get(shapes.Place, made.id)
        assert place is not made and place.name == "Mamma"
        assert place.restaurant.pizzeria is made and made.restaurant_ptr is place.restaurant
        assert place.owner.places == [place]
    found = models.Pizzeria.objects.get()
    assert (found.name, found.stars, found.oven, found.owner) == ("Mamma", 2, "gas", owner)
    with bridge.get_session() as session:
        session.delete(session.get(shapes.Pizzeria, found.pk))
        session.commit()
    assert not models.Place.objects.exists()


def test_a_key_to_a_proxy_is_one_to_what_it_stands_for(shapes: Any) -> None:
    grand = models.Grand.objects.create(name="Ritz")
    with bridge.get_session() as session:
        restaurant = session.get(shapes.Restaurant, grand.pk)
        restaurant.reviews.append(shapes.Review(text="good"))
        session.commit()
    assert grand.reviews.get().text == "good"


def test_a_table_between_with_columns_of_its_own_is_read_as_secondary(shapes: Any) -> None:
    person = models.Person.objects.create(name="ann")
    pizzeria = models.Pizzeria.objects.create(name="Da")
    with bridge.get_session() as session:
        session.add(shapes.Visit(person_id=person.pk, pizzeria_id=pizzeria.pk, bill="9.50"))
        session.commit()
        found = session.get(shapes.Pizzeria, pizzeria.pk)
        assert [guest.name for guest in found.guests] == ["ann"]
        assert [place.name for place in found.guests[0].visited] == ["Da"]
        assert sqlalchemy.inspect(shapes.Pizzeria).relationships["guests"].viewonly
    assert pizzeria.guests.get() == person


def test_a_table_between_without_columns_of_its_own_is_written_either_way(shapes: Any) -> None:
    pizzeria = models.Pizzeria.objects.create(name="Da")
    with bridge.get_session() as session:
        found = session.get(shapes.Pizzeria, pizzeria.pk)
        found.cooks.append(shapes.Person(name="ann"))
        session.add(shapes.Shift(cook=shapes.Person(name="ben"), at=found))
        session.commit()
        assert {cook.name for cook in found.cooks} == {"ann", "ben"}
    assert {cook.name for cook in pizzeria.cooks.all()} == {"ann", "ben"}


def test_what_django_deletes_with_a_row_is_deleted(shapes: Any) -> None:
    top = models.Odd.objects.create(percent=1, metadata="")
    models.Odd.objects.create(percent=2, metadata="", parent=top)
    models.Elsewhere.objects.create(code="c", odd=top)
    with bridge.get_session() as session:
        session.delete(session.get(shapes.Odd, top.pk))
        session.commit()
    assert not models.Odd.objects.exists() and models.Elsewhere.objects.get().odd is None
    connection.check_constraints()


@pytest.mark.skipif(django.VERSION < (5, 2), reason="needs CompositePrimaryKey")
def test_a_key_of_two_columns(shapes: Any) -> None:
    order = models.Odd.objects.create(percent=1, metadata="")
    with bridge.get_session() as session:
        session.add(shapes.Line(order_id=order.pk, number=1, text="a"))
        session.commit()
        line = session.get(shapes.Line, (order.pk, 1))
        line.text = "b"
        session.commit()
        assert line.order.lines == [line]
    assert models.Line.objects.get(pk=(order.pk, 1)).text == "b"


def test_django_writes_and_the_session_reads(shapes: Any) -> None:
    todo = Todo.objects.create(task="from Django")
    with bridge.get_session() as session:
        found = session.get(bridge.mapped(Todo), todo.pk)
        assert (found.task, found.created_at) == ("from Django", todo.created_at)
        assert found.created_at.tzinfo is not None and isinstance(found.created_at, dt.datetime)


def test_the_classes_of_another_registry_are_its_own() -> None:
    from django.db import connection as opened
    from django.db.migrations.loader import MigrationLoader

    state = MigrationLoader(opened).project_state(("shapes", "0001_initial"))
    then = state.apps.get_model("shapes", "Person")
    assert bridge.mapped(then) is not bridge.mapped(models.Person)
    assert bridge.mapped(then) is bridge.mapped(then)
