"""Django connects by another name than the server has for the database: an alias of a pooler, a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.test import Client
from django.urls import reverse

from bemi_django import bound_context, conf, on_change
from bemi_django.handlers import registry as handlers
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.log.blame import blame
from bemi_django.log.places import alias_of, place_of
from bemi_django.models import Change
from bemi_django.schema import database_names
from bemi_django.schema.database_names import assumed_name, database_name, database_option
from sample_project.todos.models import Todo
from tests.shop.models import Category
from tests.support.pipeline import Drain
from tests.support.pooler import Pooler

Renamed = Callable[[], AbstractContextManager[None]]


@contextmanager
def settings_of(alias: str, **changed: Any) -> Iterator[None]:
    """Django connects with other settings inside the block."""
    one = connections[alias]
    direct = dict(one.settings_dict)
    one.close()
    one.settings_dict.update(changed)
    try:
        yield
    finally:
        one.close()
        one.settings_dict.update(direct)


@pytest.fixture(params=["a pooler's alias", "a service"])
def renamed(
    request: pytest.FixtureRequest, drain: Drain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Renamed]:
    parameters = conf.connection_parameters("default")
    if request.param == "a service":
        names = {"host", "port", "user", "password", "dbname"} & parameters.keys()
        lines = "".join(f"{name}={parameters[name]}\n" for name in names)
        (tmp_path / "services").write_text(f"[bemi]\n{lines}")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        monkeypatch.delenv("PGDATABASE", raising=False)
        empty = {"NAME": "", "HOST": "", "PORT": "", "USER": "", "PASSWORD": ""}
        options = {**connection.settings_dict["OPTIONS"], "service": "bemi"}
        yield lambda: settings_of("default", **empty, OPTIONS=options)
        return
    with closing(Pooler(parameters, alias="pool")) as pooler:
        address = {"HOST": pooler.host, "PORT": str(pooler.port)}
        yield lambda: settings_of("default", NAME="pool", **address)


def test_the_log_is_found(renamed: Renamed, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "registered", {})
    heard: list[str] = []

    @on_change(Category, name="renamed", since="beginning")
    def listen(change: Change) -> None:
        heard.append(change.after["name"])

    with bound_context(request_id="r1"):
        category = Category.objects.create(name="hats")
    with bound_context(user_id=7, request_id="r2"):
        Category.objects.update(name="caps")
    drain()
    monkeypatch.setattr(conf, "slot", lambda alias="default": "bemi_test")
    with renamed():
        assert Change.objects.for_object(category).count() == 2
        assert Change.objects.for_model(Category).count() == 2
        assert blame(category)["name"].user_id == 7
        change = Change.objects.for_object(category).updated().get()
        assert change.object == category
        assert change.as_instance("before").name == "hats"  # type: ignore[attr-defined]
        assert Dispatcher("default").run(until_current=True) == 2
        call_command("bemi", "blame", f"public.shop_category:{category.pk}")
        call_command("bemi", "revert", "--request", "r2", "--noinput")
        assert Category.objects.get().name == "hats"
    assert heard == ["hats", "caps"]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM _bemi.handlers")


def test_pages_and_grants_know_it(renamed: Renamed, drain: Drain, capsys: pytest.CaptureFixture[str]) -> None:
    name = database_name("default")
    todo = Todo.objects.create(task="Sleep")
    drain()
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    with renamed():
        page = client.get(reverse("admin:bemi_django_change_changelist")).content.decode()
        call_command("bemi", "grants")
    assert reverse("admin:todos_todo_change", args=[todo.pk]) in page
    assert f'GRANT CONNECT ON DATABASE "{name}"' in capsys.readouterr().out


def test_a_name_is_asked_for_once(transactional_db: None, django_assert_num_queries: Any) -> None:
    asked = database_name("default")
    assert asked == connection.settings_dict["NAME"]
    connection.close()
    assert database_name("default") == asked and connection.connection is None
    with settings_of("default", NAME="template1"):
        assert database_name("default") == "template1"
    assert database_name("default") == asked
    with django_assert_num_queries(0):
        database_names._names.clear()
        assert database_name("default") == asked


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_name_that_another_database_has_in_the_settings() -> None:
    """PgBouncer may call a database as another one is called."""
    one, two = database_name("default"), database_name("other")
    with settings_of("default", NAME=two), settings_of("other", NAME=one):
        assert (alias_of(one), alias_of(two)) == ("other", "default")
        assert place_of(Category, "other").database == one


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_unreachable_database_keeps_the_name_of_its_settings(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(database_names, "_unreachable_until", {})
    name = database_name("default")
    with settings_of("other", PORT="1", NAME="away"):
        with pytest.raises(OperationalError):
            database_name("other")
        assert assumed_name("other") == "away" == assumed_name("other")
        assert alias_of(name) == "default" and alias_of("away") == "other"
        # If only the log is away, the server knows the name, whatever a pooler calls it.
        settings.BEMI_DESTINATION = "other"
        monkeypatch.setattr(database_names, "configured_name", lambda alias: "as the pooler calls it")
        assert assumed_name("default") == name


def test_messages_name_the_database_of_a_command_unless_it_is_the_default() -> None:
    """The command ``bemi`` has no option for it."""
    assert (database_option("default"), database_option("other")) == ("", " --database other")
    package = Path(database_names.__file__).parents[1]
    named = [file.name for file in package.rglob("*.py") if " --database {" in file.read_text()]
    assert named == ["database_names.py"]
