"""What the tests of the whole pipeline share."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from bemi_django import conf
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.models import Change
from bemi_django.schema import tracking
from tests.support import roles
from tests.support.cluster import Cluster
from tests.support.trail import Trail

if TYPE_CHECKING:
    from tests.support.pipeline import Pipeline

Drain = Callable[[], list[Change]]


@pytest.fixture
def drain(transactional_db: None) -> Iterator[Drain]:
    """Run the worker until the present and return the changes since the last call."""
    tracking.sync()
    seen: set[object] = set()

    def run() -> list[Change]:
        release("bemi_test")
        Supervisor(worker_config("bemi_test")).run(until_current=True)
        fresh = [change for change in Change.objects.all() if change.pk not in seen]
        assert {change.pk for change in fresh} <= {
            UUID(pk) for (pk,) in read_log("SELECT id::text FROM changes")
        }
        seen.update(change.pk for change in fresh)
        return fresh

    run()
    yield run
    drop_slot("bemi_test")


def read_log(query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Ask the log, as its reader where there are several roles."""
    if not roles.are_in_use():
        with connections[conf.destination()].cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())
    reader = roles.as_role(roles.READER, conf.connection_parameters(conf.destination()))
    with closing(psycopg2.connect(**reader)) as opened, opened.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def worker_config(slot: str, using: str = "default", role: str = roles.WORKER) -> WorkerConfig:
    """What the worker of a test works on, or the owner, where there are several roles."""
    source, destination = (
        roles.as_role(role, conf.connection_parameters(alias)) for alias in (using, conf.destination())
    )
    return WorkerConfig(source, destination, slot, conf.publication())


def release(slot: str, using: str = "default") -> None:
    """Wait until the server has noticed that nobody reads the slot any more, a matter of milliseconds."""
    query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
    deadline = time.monotonic() + 20
    with connections[using].cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(query, [slot])
            if cursor.fetchone() == (0,):
                return
    raise TimeoutError(f"somebody still reads from the slot {slot}")


def drop_slot(slot: str, using: str = "default") -> None:
    """Drop the slot and forget its checkpoint."""
    release(slot, using)
    with roles.administrator(str(connections[using].settings_dict["NAME"])) as cursor:
        cursor.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            [slot],
        )
    with connections[conf.destination()].cursor() as cursor:
        cursor.execute("DELETE FROM _bemi_checkpoint WHERE slot = %s", [slot])


@pytest.fixture
def observer(transactional_db: None) -> Iterator[Any]:
    """A cursor of another connection, which is not Django's."""
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            yield cursor


@pytest.fixture
def engine(transactional_db: None) -> Iterator[Any]:
    """A SQLAlchemy engine that carries the context."""
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is an optional part")
    from bemi_django.capture.hooks.sqlalchemy_engine import install, uninstall

    made = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(**conf.connection_parameters("default")),
        future=True,
    )
    install(made)
    yield made
    uninstall(made)
    made.dispose()


@pytest.fixture(scope="session")
def source_cluster() -> Iterator[Cluster]:
    """A server that tests may stop."""
    with closing(Cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def log_cluster() -> Iterator[Cluster]:
    """A server that only holds the log: it need not be one that can be recorded."""
    with closing(Cluster(wal_level="replica")) as cluster:
        yield cluster


@pytest.fixture
def trail(source_cluster: Cluster, log_cluster: Cluster, caplog: pytest.LogCaptureFixture) -> Iterator[Trail]:
    """Source and log on two servers; what the worker says in between never holds a row's value."""
    caplog.set_level(logging.INFO, "bemi_django")
    trail = Trail(source_cluster, log_cluster, "bemi_trail")
    try:
        trail.run()
        yield trail
    finally:
        trail.drop()
    assert [record for record in caplog.get_records("call") if "row-value" in record.getMessage()] == []


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """pytest-django makes the databases of marked tests only; the tests of a laboratory have no mark."""
    is_made = str(connection.settings_dict["NAME"]).startswith("test_")
    aliases = {} if is_made else {"default": None}
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases=aliases, serialized_aliases=[])
        grant()
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


def grant(*aliases: str) -> None:
    """Give the roles, where there are several, their rights on what the databases of the tests have now."""
    for alias in (aliases or connections) if roles.are_in_use() else ():
        name = str(connections[alias].settings_dict["NAME"])
        if name.startswith("test_"):
            script = io.StringIO()
            call_command("bemi", "grants", "--database", alias, stdout=script)
            roles.grant(script.getvalue())


@pytest.fixture(scope="module")
def laboratory(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Pipeline]:
    """One pipeline for all tests of a module."""
    from tests.support import pipeline

    with django_db_blocker.unblock(), pipeline.laboratory("lab*.*") as opened:
        yield opened


@pytest.fixture
def pipeline(laboratory: Pipeline) -> Iterator[Pipeline]:
    """A worker that has written everything, and the empty schema ``lab``, all of whose tables are tracked."""
    from tests.support.pipeline import experiment

    with experiment(laboratory):
        yield laboratory
