"""A pipeline over tables that tests make, change and drop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.test import override_settings

from bemi_django.schema import tracking
from tests.support.pipeline import Pipeline
from tests.support.project_database import execute

SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
}


def plain_settings() -> None:
    """Set the session as the contract of the log assumes it: PostgreSQL's own defaults, and UTC."""
    execute(
        "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SETTINGS.items())
    )


@contextmanager
def laboratory(*include: str) -> Iterator[Pipeline]:
    """Yield a pipeline that tracks the tables of the patterns; its tests drop what they make."""
    with override_settings(BEMI_INCLUDE=list(include)):
        tracking.sync()
        pipeline = Pipeline.of_project("bemi_laboratory")
        try:
            pipeline.drain()
            yield pipeline
        finally:
            pipeline.drop()
    tracking.sync()


def _empty_log() -> None:
    execute("DELETE FROM changes; DELETE FROM _bemi.dead_letters; DELETE FROM _bemi.activity")


@contextmanager
def experiment(pipeline: Pipeline) -> Iterator[None]:
    """Make the empty schema ``lab`` and set the session as the contract of the log assumes it."""
    plain_settings()
    _empty_log()
    execute("CREATE SCHEMA lab")
    # "bemi grants" prints it for a schema with types that render themselves.
    execute("GRANT USAGE ON SCHEMA lab TO _bemi_compute")
    pipeline.drain()
    yield
    connection.close()
    for (schema,) in execute(
        "SELECT quote_ident(nspname) FROM pg_namespace WHERE starts_with(nspname, 'lab')"
    ):
        execute(f"DROP SCHEMA {schema} CASCADE")
    _empty_log()
