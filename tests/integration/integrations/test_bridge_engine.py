"""The pooled engine of a database of Django's."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from bemi_django import bound_context
from tests.support.bridge import bridge, sqlalchemy
from tests.support.pipeline import Drain

text = sqlalchemy.text
engines: Any = importlib.import_module("bemi_django.integrations.sqlalchemy.engine")


@pytest.fixture(autouse=True)
def a_fresh_cache() -> Iterator[None]:
    engines._engine.cache_clear()
    yield
    bridge.get_engine().dispose()
    engines._engine.cache_clear()


@pytest.fixture
def configured(db: None) -> Iterator[dict[str, Any]]:
    """The entry of DATABASES, to change."""
    entry = connection.settings_dict
    before = copy.deepcopy(entry)
    yield entry
    entry.clear()
    entry.update(before)


def one(statement: str) -> Any:
    with bridge.get_engine().connect() as opened:
        return opened.execute(text(statement)).scalar()


def test_it_is_the_same_each_time_and_names_its_driver(db: None) -> None:
    engine = bridge.get_engine()
    assert engine is bridge.get_engine("default") is not bridge.get_engine("other")
    assert engine.url.drivername == ("postgresql+psycopg" if is_psycopg3 else "postgresql+psycopg2")


def test_it_connects_to_djangos_database_apart_from_djangos_connection(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_backend_pid()")
        database, pid = cursor.fetchone()
    assert one("SELECT current_database()") == database == connection.settings_dict["NAME"]
    assert one("SELECT pg_backend_pid()") != pid


def test_its_writes_carry_the_context(drain: Drain) -> None:
    with bound_context(user_id=7), bridge.get_engine().begin() as opened:
        opened.execute(text("INSERT INTO tag (name) VALUES ('a')"))
    (change,) = (change for change in drain() if change.table == "tag")
    assert change.context["user_id"] == 7


def test_options_of_libpq_reach_the_server(configured: dict[str, Any]) -> None:
    configured["OPTIONS"] = {
        "application_name": "shop",
        "options": "-c statement_timeout=4321",
        "sslmode": "prefer",
    }
    assert one("SHOW application_name") == "shop"
    assert one("SHOW statement_timeout") == "4321ms"


def test_a_service_and_a_passfile_are_read(
    configured: dict[str, Any], tmp_path: Any, monkeypatch: Any
) -> None:
    service, passfile = tmp_path / "services", tmp_path / "passwords"
    service.write_text(
        f"[shop]\nhost={configured['HOST']}\nport={configured['PORT']}\nuser={configured['USER']}\n"
    )
    passfile.write_text(f"*:*:*:*:{configured['PASSWORD']}\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    configured.update(HOST="", PORT="", USER="", PASSWORD="")
    configured["OPTIONS"] = {"service": "shop", "passfile": str(passfile)}
    assert one("SELECT current_database()") == configured["NAME"]


def test_tls_is_not_dropped_silently(configured: dict[str, Any], tmp_path: Any) -> None:
    configured["OPTIONS"] = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "missing.pem")}
    with pytest.raises(sqlalchemy.exc.OperationalError, match="missing.pem|SSL"):
        one("SELECT 1")


@pytest.mark.administrator
def test_role_isolation_level_and_time_zone_are_djangos(configured: dict[str, Any]) -> None:
    configured["OPTIONS"] = {
        "assume_role": "pg_read_all_data",
        "isolation_level": 3 if not is_psycopg3 else 4,
    }
    assert one("SELECT current_user") == "pg_read_all_data"
    assert one("SHOW transaction_isolation") == "serializable"
    assert one("SHOW TimeZone") == connection.timezone_name


def test_the_pool_is_as_the_settings_say(configured: dict[str, Any], settings: Any) -> None:
    configured.update(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
    if is_psycopg3:
        configured["OPTIONS"] = {"pool": {"min_size": 2, "max_size": 5, "timeout": 3}}
    settings.BEMI_ENGINE_OPTIONS = {"default": {"pool_size": 3, "echo": False}}
    pool: Any = bridge.get_engine().pool
    assert pool.size() == 3 and pool._recycle == 60 and pool._pre_ping
    assert pool._max_overflow == (3 if is_psycopg3 else 10)


def test_another_database_than_postgresql_is_refused(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setitem(connections.settings, "lite", {**connections.settings["default"]})
    connections.settings["lite"].update(ENGINE="django.db.backends.sqlite3", NAME=":memory:")
    with pytest.raises(ImproperlyConfigured, match="'lite' is not PostgreSQL"):
        bridge.get_engine("lite")
    del connections["lite"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_leaves_the_parents_connections_alone(db: None) -> None:
    engine = bridge.get_engine()
    pid = one("SELECT pg_backend_pid()")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if one("SELECT pg_backend_pid()") != pid else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one("SELECT pg_backend_pid()") == pid and bridge.get_engine() is engine


def test_parameters_are_asked_for_each_connection(configured: dict[str, Any]) -> None:
    configured["OPTIONS"] = {**configured["OPTIONS"], "application_name": "first"}
    assert one("SHOW application_name") == "first"
    configured["OPTIONS"]["application_name"] = "second"
    bridge.get_engine().dispose()
    assert one("SHOW application_name") == "second"
