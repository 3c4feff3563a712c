from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.utils import ConnectionHandler

from bemi_django import checks
from bemi_django.schema import tracking
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE


def ids(**kwargs: Any) -> set[str | None]:
    return {message.id for message in run_checks(**kwargs)}


def test_the_sample_project_has_nothing_to_complain_of(transactional_db: None) -> None:
    found = run_checks(databases=["default"])
    assert [message for message in found if (message.id or "").startswith("bemi")] == []


def test_a_missing_middleware_is_said(settings: Any, db: None) -> None:
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    assert "bemi.W001" in ids()


def test_a_place_where_the_site_cannot_be_shown_as_it_was_is_reported(settings: Any) -> None:
    def reported() -> list[str]:
        return [message.msg for message in checks.check_settings() if message.id == "bemi.E025"]

    assert reported() == []
    fetching = "django.middleware.cache.FetchFromCacheMiddleware"
    ours = "bemi_django.middleware.TimeTravelMiddleware"
    others = [path for path in settings.MIDDLEWARE if path != ours]
    settings.MIDDLEWARE = [*others, ours, fetching]
    assert reported() == []
    settings.MIDDLEWARE = [*others, fetching, ours]
    assert reported() == [f"TimeTravelMiddleware is behind {fetching}."]
    settings.MIDDLEWARE = [ours, *others]
    assert len(reported()) == 3 and all("precedes" in message for message in reported())
    settings.MIDDLEWARE = [ours]
    assert reported() == ["TimeTravelMiddleware needs AuthenticationMiddleware."]
    settings.BEMI_TIME_TRAVEL_PRESENT = ["shop", "todos.Todo", "nowhere", "todos.Nothing", "a.b.c"]
    assert "no app or model: nowhere, todos.Nothing, a.b.c." in reported()[-1]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BEMI_INCLUDE", "public.*"),
        ("BEMI_INCLUDE", None),
        ("BEMI_INCLUDE", [("public", "*")]),
        # Without the comma, it is no tuple.
        ("BEMI_EXCLUDE", ("public.secrets")),
        ("BEMI_EXCLUDE", None),
        ("BEMI_EXCLUDE", [None]),
        ("BEMI_MASKED_FIELDS", "*.password"),
        ("BEMI_MASKED_FIELDS", None),
        ("BEMI_DESTINATION", "nowhere"),
        ("BEMI_PUBLICATION", None),
        ("BEMI_AS_OF_PATIENCE", "soon"),
        ("BEMI_LARGEST_DEAD_LETTER", "1MB"),
        ("BEMI_ADMIN_HISTORY", "link"),
        ("BEMI_RENAMED_COLUMNS", {"public.todo": "task"}),
    ],
)
def test_a_setting_of_another_type_is_reported_and_nothing_else(
    setting: str, value: Any, settings: Any, transactional_db: None
) -> None:
    setattr(settings, setting, value)
    found = run_checks(databases=["default"])
    (message,) = (message for message in found if str(message.id).startswith("bemi."))
    assert message.id == "bemi.E010" and message.msg.startswith(f"{setting} is {value!r}") and message.hint


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BEMI_DESTINATION", "postgresql://bemi:hunter2@db.example.org/log"),
        ("BEMI_DESTINATION", ["password=hunter2"]),
        ("BEMI_ENGINE_OPTIONS", {"default": ["connect_args", "password=hunter2"]}),
        ("BEMI_ENGINE_OPTIONS", {"default": 5, "password": "hunter2"}),
        ("BEMI_ARCHIVE", {"url": "s3://key:hunter2@bucket/folder"}),
        ("BEMI_KEY_STORE", {"password": "hunter2"}),
        ("BEMI_KEY_STORE", "vault-hunter2"),
        ("BEMI_CONTEXT_AGE", "a day"),
        ("BEMI_CONTEXT_KEYS", {"password": "hunter2"}),
        ("BEMI_ANCHORS", {"url": "https://bemi:hunter2@example.org"}),
    ],
)
def test_a_wrong_value_that_may_hold_a_secret_is_not_printed(
    setting: str, value: Any, settings: Any, transactional_db: None
) -> None:
    setattr(settings, setting, value)
    found = [str(one) for one in run_checks(databases=["default"]) if str(one.id).startswith("bemi.E")]
    assert found and setting in found[0]
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("setting", ["BEMI_INCLUDE", "BEMI_EXCLUDE"])
def test_a_text_is_no_list_of_patterns(setting: str, settings: Any, transactional_db: None) -> None:
    """Where nobody checks the settings, nothing is recorded that was to be left out."""
    setattr(settings, setting, "public.todo")
    with pytest.raises(ImproperlyConfigured, match=f"{setting} is 'public.todo', which is not a list"):
        tracking.sync()


def test_wrong_settings_are_reported_where_the_project_is_loaded(tmp_path: Path) -> None:
    """Nothing that reads them earlier fails."""
    names = re.findall(r"^\| `(BEMI_\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    lines = "".join(f"{name} = object()\n" for name in names)
    (tmp_path / "wrong_settings.py").write_text(f"from tests.settings import *\n{lines}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "bemi", "status"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "wrong_settings",
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1 and done.stderr.startswith("SystemCheckError"), done.stderr
    assert done.stderr.count("bemi.E010") > 20 and "Traceback" not in done.stderr


def test_wrong_settings_of_alerts_are_reported(settings: Any) -> None:
    settings.BEMI_WEBHOOK_NETWORKS = ["10.0.0.0/99"]
    settings.BEMI_ALERT_HANDLERS = {"good": f"{__name__}.ids", "none": "no.such.function", "bad": "os.sep"}
    found = [message.msg for message in checks.check_settings() if message.id == "bemi.E027"]
    assert [message.partition(":")[0] for message in found] == ["BEMI_WEBHOOK_NETWORKS"] + [
        "BEMI_ALERT_HANDLERS"
    ] * 2
    assert "'none'" in found[1] and "'bad'" in found[2]


def no_arguments() -> dict[str, Any]:
    return {}


async def asynchronous(request: Any) -> dict[str, Any]:
    return {}


class Asynchronous:
    async def __call__(self, request: Any) -> dict[str, Any]:
        return {}


asynchronous_object = Asynchronous()
not_a_function = {"user_id": 7}


@pytest.mark.parametrize("setting", ["BEMI_CONTEXT_FUNCTION", "BEMI_ADMIN_SCOPE"])
@pytest.mark.parametrize(
    "path", ["", "x", "no.such.function", f"{__name__}.nothing", "tests.support.broken_module.fn"]
)
def test_a_function_that_cannot_be_imported_is_reported(settings: Any, setting: str, path: str) -> None:
    setattr(settings, setting, path)
    found = [message for message in checks.check_settings() if message.id == "bemi.E001"]
    assert len(found) == (path != "")
    assert all(message.msg.startswith(f"{setting} cannot be imported: ") for message in found)


@pytest.mark.parametrize("setting", ["BEMI_CONTEXT_FUNCTION", "BEMI_ADMIN_SCOPE"])
def test_a_function_that_cannot_be_called_is_reported(settings: Any, setting: str) -> None:
    for name, reason in (("no_arguments", "cannot be called with"), ("not_a_function", "is not a function")):
        setattr(settings, setting, f"{__name__}.{name}")
        (message,) = [message for message in checks.check_settings() if message.id == "bemi.E001"]
        assert message.msg.startswith(f"{setting} {reason}")
    setattr(settings, setting, 7)
    assert "bemi.E001" in {message.id for message in checks.check_settings()}


@pytest.mark.parametrize("name", ["asynchronous", "asynchronous_object"])
def test_an_async_function_is_reported_where_it_cannot_be_awaited(settings: Any, name: str) -> None:
    def reported() -> bool:
        return "bemi.E005" in {message.id for message in checks.check_settings()}

    settings.BEMI_CONTEXT_FUNCTION = f"{__name__}.{name}"
    assert reported()
    settings.WSGI_APPLICATION = None
    assert not reported()
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.support.request_views.SyncMiddleware"]
    assert reported()
    settings.MIDDLEWARE = [settings.MIDDLEWARE[-1], *settings.MIDDLEWARE[:-1], "no.such.middleware"]
    assert not reported()
    settings.BEMI_CONTEXT_FUNCTION = None
    settings.WSGI_APPLICATION = "x"
    assert not reported()


def test_a_trusted_request_id_needs_trusted_proxies(settings: Any) -> None:
    settings.BEMI_TRUST_REQUEST_ID = True
    for proxies, is_reported in ((None, True), ([], True), (0, True), (1, False), (["unix:"], False)):
        settings.BEMI_TRUSTED_PROXIES = proxies
        assert ("bemi.E006" in {message.id for message in checks.check_settings()}) is is_reported
    settings.BEMI_TRUSTED_PROXIES = None
    settings.BEMI_TRUST_REQUEST_ID = False
    assert "bemi.E006" not in {message.id for message in checks.check_settings()}


def test_proxies_that_are_none_are_said(settings: Any) -> None:
    for proxies in (-1, ["everybody"], 1.5):
        settings.BEMI_TRUSTED_PROXIES = proxies
        assert "bemi.E004" in ids()
    settings.BEMI_TRUSTED_PROXIES = ["10.0.0.0/8", "unix:"]
    assert "bemi.E004" not in ids()


def test_a_table_that_lacks_something_is_said(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER _bemi_capture ON tag")
        cursor.execute("ALTER TABLE tag REPLICA IDENTITY DEFAULT")
        cursor.execute("ALTER PUBLICATION bemi DROP TABLE tag")
    try:
        assert {"bemi.W002", "bemi.W003", "bemi.W004"} <= ids(databases=["default"])
    finally:
        tracking.sync()
    assert not {"bemi.W002", "bemi.W003", "bemi.W004"} & ids(databases=["default"])


def test_a_table_that_is_excluded_before_the_next_sync_is_said(transactional_db: None, settings: Any) -> None:
    assert "bemi.W021" not in ids(databases=["default"])
    settings.BEMI_EXCLUDE = ["public.tag"]
    (found,) = (one for one in run_checks(databases=["default"]) if one.id == "bemi.W021")
    assert (
        found.msg
        == "1 tracked tables of 'default' are recorded though the settings leave them out: public.tag."
    )
    assert found.hint == "Name them in BEMI_INCLUDE, or to record them no longer: run manage.py bemi sync."


def test_tables_that_cannot_be_tracked_are_named(transactional_db: None) -> None:
    has_virtual = connection.pg_version >= 180000  # type: ignore[attr-defined]
    names = ["fast", "Virtual"] if has_virtual else ["fast"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)")
        cursor.execute("CREATE TEMP TABLE scratch (id int)")
        if has_virtual:
            cursor.execute('CREATE TABLE "Virtual" (a int, b int GENERATED ALWAYS AS (a * 2))')
        try:
            assert tracking.sync().done == []
            (message,) = (found for found in run_checks(databases=["default"]) if found.id == "bemi.W006")
        finally:
            for name in names:
                cursor.execute(f'DROP TABLE "{name}"')
    virtual = "public.Virtual (virtual columns and no primary key), " if has_virtual else ""
    assert message.msg == (
        f"Changes of {len(names)} tables of 'default' are not recorded: {virtual}public.fast (unlogged)."
    )
    assert "bemi.W006" not in ids(databases=["default"])


def test_a_destination_without_a_router_is_said(settings: Any, db: None) -> None:
    settings.BEMI_DESTINATION = "other"
    assert "bemi.E003" in ids()
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    assert "bemi.E003" not in ids()


@pytest.mark.parametrize(
    ("version", "has_psycopg3", "said"),
    [
        ("1.4.54", False, []),
        ("2.1.0", False, ["cannot query with SQLAlchemy 2"]),
        ("1.4.54", True, ["Django uses psycopg 3"]),
        ("2.0.1", True, ["cannot query with SQLAlchemy 2", "Django uses psycopg 3"]),
    ],
)
def test_an_aldjemy_that_cannot_work_is_said(
    monkeypatch: pytest.MonkeyPatch, version: str, has_psycopg3: bool, said: list[str]
) -> None:
    is_installed, find_spec = apps.is_installed, importlib.util.find_spec
    monkeypatch.setattr(apps, "is_installed", lambda name: name == "aldjemy" or is_installed(name))
    monkeypatch.setattr(metadata, "version", lambda name: version)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: has_psycopg3 or None if name == "psycopg" else find_spec(name),
    )
    found = [message for message in checks.check_settings() if message.id == "bemi.W007"]
    assert [words for message, words in zip(found, said, strict=True) if words in message.msg] == said
    assert all("bemi_django.integrations.sqlalchemy" in (message.hint or "") for message in found)


def test_a_database_that_cannot_be_asked_is_reported(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    with monkeypatch.context() as changed:
        changed.setitem(connection.settings_dict, "NAME", "lab_nothing")
        (found,) = (one for one in run_checks(databases=["default"]) if one.id == "bemi.W022")
    assert found.msg.startswith("'default' cannot be checked: ")
    assert 'database "lab_nothing" does not exist' in found.msg


def test_every_id_is_listed_once() -> None:
    assert checks.__doc__ is not None
    listed = [word for word in checks.__doc__.split() if word.startswith("bemi.")]
    assert len(listed) == len(set(listed))


@pytest.mark.administrator
def test_migrations_run_down_and_up(transactional_db: None) -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", "bemi_django", "zero", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '\\_bemi%'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT to_regclass('changes')")
        assert cursor.fetchone() == (None,)
    call_command("migrate", "bemi_django", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) > 0 FROM pg_trigger WHERE tgname LIKE '\\_bemi%'")
        assert cursor.fetchone() == (True,)


def test_no_migration_is_missing(transactional_db: None) -> None:
    from django.core.management import call_command

    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_a_handler_of_a_table_that_is_not_tracked_is_said(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.sessions.models import Session

    from bemi_django import on_change
    from bemi_django.handlers import registry as handlers
    from sample_project.todos.models import Todo

    monkeypatch.setattr(handlers, "registered", {})
    on_change(Todo, name="fine")(print)
    assert "bemi.W008" not in ids(databases=["default"])
    on_change(Session, name="deaf")(print)
    (message,) = [found for found in run_checks(databases=["default"]) if found.id == "bemi.W008"]
    assert "The handler deaf receives no changes" in message.msg


@pytest.mark.parametrize(
    ("value", "is_reported"), [(None, False), ("", False), ("/srv", False), (ROOT, False), (7, True)]
)
def test_an_archive_is_a_directory_or_an_address(settings: Any, value: object, is_reported: bool) -> None:
    settings.BEMI_ARCHIVE = value
    assert ("bemi.E015" in {message.id for message in checks.check_settings()}) is is_reported


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"nowhere": {"hash": "1/2"}}, "has 'nowhere', which is no alias of DATABASES."),
        ({"default": {"hash": "1/2"}}, "has 'default', which is a source: make it BEMI_DESTINATION."),
        ({"other": {"tables": 1}}, "has wrong conditions for 'other': patterns must be a list of texts."),
        ({"other": {"tables": ["public.todo"]}}, None),
    ],
)
def test_destinations_are_checked(settings: Any, value: Any, message: str | None) -> None:
    settings.DATABASE_ROUTERS = ["bemi_django.routers.BemiRouter"]
    settings.BEMI_DESTINATION = "default" if "default" not in value else "other"
    settings.BEMI_DESTINATIONS = value
    found = [one.msg for one in checks.check_settings() if one.id == "bemi.E028"]
    assert found == ([f"BEMI_DESTINATIONS {message}"] if message else [])


def test_a_log_that_cannot_be_where_the_setting_says_is_reported(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the default database is not PostgreSQL, changes of another one would go nowhere."""
    lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(
        connections.settings, "lite", ConnectionHandler({"default": lite}).settings["default"]
    )
    settings.BEMI_DESTINATION = "lite"
    (found,) = [one for one in checks.check_settings() if one.id == "bemi.W016"]
    assert found.msg.startswith("Changes of 'default' are not recorded: 'lite'")
    with pytest.raises(CommandError, match="set BEMI_DESTINATION to the alias of a PostgreSQL database"):
        call_command("bemi", "status")
    settings.BEMI_DESTINATION = "default"
    assert [one for one in checks.check_settings() if one.id == "bemi.W016"] == []
    del connections["lite"]
