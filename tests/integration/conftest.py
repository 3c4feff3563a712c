"""Fixtures of the tests on a real server."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.db import connection, connections
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from bemi_django import conf
from bemi_django.models import Change
from bemi_django.schema.database_names import database_name
from bemi_django.schema.django_commands import catalog_state
from tests.support import laboratory as laboratories
from tests.support import roles
from tests.support.cluster import Cluster
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.pipeline import Drain, Pipeline

# What tests leave behind; some of them remove the tables themselves.
_EMPTY = """
DO $block$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['_bemi.dead_letters', '_bemi.undelivered', '_bemi.baseline_rows',
                                '_bemi.baselines', '_bemi.erased', '_bemi.erasures',
                                '_bemi.subject_keys', '_bemi.activity', '_bemi.prunings',
                                '_bemi.omitted_changes', '_bemi.alert_rules', '_bemi.saved_views',
                                '_bemi.verified', '_bemi.verifications']
    LOOP
        IF to_regclass(kept) IS NOT NULL THEN
            EXECUTE 'DELETE FROM ' || kept;
        END IF;
    END LOOP;
    IF to_regclass('_bemi.omitted_columns') IS NOT NULL THEN
        -- What a worker has left out; the others are what the settings say, which sync keeps.
        DELETE FROM _bemi.omitted_columns WHERE slot NOT IN ('', '*');
    END IF;
END
$block$
"""


@pytest.fixture(autouse=True)
def database_before_settings(request: pytest.FixtureRequest) -> None:
    """Make the database first, so that a test's settings are undone before its database is emptied."""
    if "transactional_db" in request.fixturenames:
        request.getfixturevalue("transactional_db")


@pytest.fixture
def transactional_db(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Empty the tables of ``_bemi`` as well: Django empties those of the search path only."""
    yield
    # Tables are emptied and synchronised as the project has them, not as the test has changed them.
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY)


@pytest.fixture
def drain(transactional_db: None) -> Iterator[Drain]:
    """Run the worker up to the present and return the changes since the last call; it stays connected."""
    with _drained() as (_, run):
        yield run


@pytest.fixture
def brief_drain(transactional_db: None) -> Iterator[Drain]:
    """Do the same, and leave the slot to a worker of the test's own between the calls."""
    with _drained() as (pipeline, run):

        def run_briefly() -> list[Change]:
            fresh = run()
            pipeline.stop()
            return fresh

        pipeline.stop()
        yield run_briefly


@contextmanager
def _drained() -> Iterator[tuple[Pipeline, Drain]]:
    catalog_state.sync_if_changed("default")
    pipeline = Pipeline.of_project("bemi_test")
    run = partial(_fresh, pipeline, set())
    run()
    yield pipeline, run
    pipeline.drop()


def _fresh(pipeline: Pipeline, seen: set[object]) -> list[Change]:
    pipeline.advance()
    fresh = [change for change in Change.objects.all() if change.pk not in seen]
    assert {change.pk for change in fresh} <= {
        UUID(pk) for (pk,) in pipeline.log.read("SELECT id::text FROM changes")
    }
    seen.update(change.pk for change in fresh)
    return fresh


@pytest.fixture
def observer(transactional_db: None) -> Iterator[Any]:
    """A cursor of a connection beside Django's, in autocommit."""
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
    with closing(load_cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def log_cluster() -> Iterator[Cluster]:
    """A server that only holds the log, so that it needs no ``wal_level = logical``."""
    with closing(load_cluster(wal_level="replica")) as cluster:
        yield cluster


@pytest.fixture
def trail(
    source_cluster: Cluster, log_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> Iterator[LoadPipeline]:
    """Source and log on two servers; what the worker logs never holds a row's value."""
    caplog.set_level(logging.INFO, "bemi_django")
    trail = LoadPipeline(source_cluster, log_cluster, "bemi_trail")
    try:
        trail.run()
        yield trail
    finally:
        trail.drop()
    assert [record for record in caplog.get_records("call") if "row-value" in record.getMessage()] == []


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Make the databases for unmarked tests, too: those of a laboratory have no mark."""
    is_made = str(connection.settings_dict["NAME"]).startswith("test_")
    aliases = {} if is_made else {"default": None}
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases=aliases, serialized_aliases=[])
        roles.grant()
        for alias in connections:
            # Asked once for each process: a test may ask although it must not use the other database.
            database_name(alias)
            connections[alias].close()
    # What the migrations have left is kept out of garbage collections, too.
    gc.collect()
    gc.freeze()
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="module")
def laboratory(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Pipeline]:
    """One pipeline for all tests of a module."""
    with django_db_blocker.unblock(), laboratories.laboratory("lab*.*") as opened:
        yield opened


@pytest.fixture
def pipeline(laboratory: Pipeline) -> Iterator[Pipeline]:
    """A worker that has written everything, and the empty schema ``lab``, all of whose tables are tracked."""
    with laboratories.experiment(laboratory):
        yield laboratory
