# ruff: noqa: S608 - the SQL of tests
"""Settings of a database, with which every session begins: the application's, ours, and the worker's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import pytest
from django.db import connection

from bemi_django.admin.search.query_plans import no_seqscan
from bemi_django.exceptions import SinkUnavailable
from bemi_django.ingest.loop.worker import Worker
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.stream.connections import connect_destination, connect_source
from bemi_django.models import Change
from bemi_django.time_travel import as_of
from tests.support.laboratory import SETTINGS as PLAIN
from tests.support.laboratory import plain_settings
from tests.support.pipeline import Pipeline, worker_config
from tests.support.project_database import another_session, execute
from tests.support.travel import here, settled

SETTINGS = {
    "print": {
        "DateStyle": "SQL, DMY", "IntervalStyle": "sql_standard", "extra_float_digits": "-15",
        "bytea_output": "escape", "TimeZone": "Europe/Dublin",
    },
    "read": {
        "standard_conforming_strings": "off", "array_nulls": "off", "transform_null_equals": "on",
        "quote_all_identifiers": "on", "xmloption": "document", "plpgsql.extra_errors": "all",
        "default_transaction_isolation": "serializable", "row_security": "off",
    },
}  # fmt: skip
VALUES = {
    "f": ("float8", "0.1::float8 + 0.2::float8"),
    "words": ("text[]", "ARRAY['a', NULL, 'NULL']"),
    "at": ("timestamptz", "timestamptz '2026-07-05 01:02:03.4+05'"),
    "day": ("date", "date '2026-03-05'"),
    "took": ("interval", "make_interval(months => -3, days => 4, secs => -5.5)"),
    "raw": ("bytea", "decode('00ff5c', 'hex')"),
}


@contextmanager
def settings_of_database(settings: Mapping[str, str]) -> Iterator[None]:
    database = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
    try:
        for name, value in settings.items():
            execute(f"ALTER DATABASE {database} SET {name} = '{value}'")
        connection.close()
        yield
    finally:
        execute(f"ALTER DATABASE {database} RESET ALL")
        connection.close()


def rows() -> list[str]:
    """The rows as ``to_jsonb`` prints them with the settings of the contract."""
    options = " ".join(f"-c {name}={value}" for name, value in PLAIN.items())
    with another_session(options=options) as cursor:
        cursor.execute("SELECT to_jsonb(t.*)::text FROM lab.t t ORDER BY id")
        return [row for (row,) in cursor.fetchall()]


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_recorded_and_read_does_not_depend_on_them(name: str, pipeline: Pipeline) -> None:
    pipeline.stop()
    with settings_of_database(SETTINGS[name]):
        first = ", ".join(f"{column} {kind}" for column, (kind, _) in VALUES.items())
        more = ", ".join(f"ADD {column}_2 {kind} DEFAULT {value}" for column, (kind, value) in VALUES.items())
        execute(f"CREATE TABLE lab.t (id int PRIMARY KEY, {first})")
        execute(f"INSERT INTO lab.t VALUES (1, {', '.join(value for _, value in VALUES.values())})")
        execute("INSERT INTO lab.t VALUES (2)")
        execute(f"ALTER TABLE lab.t {more}")
        before, moment = rows(), here()
        execute("UPDATE lab.t SET " + ", ".join(f"{column} = NULL, {column}_2 = NULL" for column in VALUES))
        changes = pipeline.drain()
        assert [change.before for change in changes if change.operation == "UPDATE"] == before
        plain_settings()
        with settled, as_of(moment):
            assert [
                row for (row,) in execute("SELECT to_jsonb(t.*)::text FROM lab.t t ORDER BY id")
            ] == before
        assert Change.objects.filter(schema="lab").updated().revert().is_applied
        assert rows() == before
        pipeline.drain()
        pipeline.stop()


@pytest.mark.django_db(transaction=True)
def test_no_query_of_ours_is_compiled() -> None:
    """Compilation takes seconds for large queries about few rows, whose costs are estimated high."""
    functions = execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = '_bemi'::regnamespace "
        "AND array_to_string(proconfig, ' ') ~ 'search_path=' AND 'jit=off' <> ALL (proconfig)"
    )
    assert functions == []
    config = worker_config("bemi_settings")
    with settings_of_database({"jit": "on", "jit_above_cost": "0"}):
        for open_ in (connect_source, connect_destination):
            with closing(open_(config)) as session, session.cursor() as cursor:
                cursor.execute("SHOW jit")
                assert cursor.fetchone() == ("off",)
        with no_seqscan():
            assert execute("SHOW jit") == [("off",)]
        assert execute("SHOW jit") == [("on",)]


@pytest.mark.django_db(transaction=True)
def test_a_log_whose_transactions_are_read_only_says_so() -> None:
    config = worker_config("bemi_settings")
    config.destination["options"] = "-c default_transaction_read_only=on"
    # It passes when the server has room again: the worker tries again.
    worker = Worker(config, Progress())
    for work in (lambda: connect_destination(config), worker.run):
        with (
            closing(worker),
            pytest.raises(SinkUnavailable, match="ALTER ROLE .* SET default_transaction_read_only = off"),
        ):
            work()
