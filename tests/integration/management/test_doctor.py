"""``bemi doctor``: each finding with the thing itself, and none where all is well."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bemi_django import conf, doctor
from bemi_django.doctor import connection as way
from bemi_django.doctor import cost, known_tables, rights, server, standbys, tables, versions
from bemi_django.doctor.finding import Finding
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.schema import tracking
from sample_project.todos.models import Todo
from tests.support import roles
from tests.support.pipeline import Pipeline
from tests.support.polling import until
from tests.support.pooler import Pooler

SLOT = "bemi_doctor"


@pytest.fixture
def source(transactional_db: None, settings: Any) -> None:
    settings.BEMI_SLOT = SLOT
    tracking.sync()


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def examined() -> tuple[dict[str, Any], str]:
    """Return what the command printed as JSON, and its error."""
    output, error = io.StringIO(), ""
    try:
        call_command("bemi", "doctor", "--json", stdout=output)
    except CommandError as raised:
        error = str(raised)
    found: dict[str, Any] = json.loads(output.getvalue())
    return found, error


def ids(findings: Any) -> list[str]:
    return [finding.id for finding in findings]


@pytest.mark.administrator
def test_it_names_findings_with_their_remedies_and_what_is_tracked(source: None) -> None:
    found, error = examined()
    assert error == "" and not any(finding["stops"] for finding in found["findings"])
    assert all(finding["message"] and finding["remedy"] for finding in found["findings"])
    assert "bemi.D006" in {finding["id"] for finding in found["findings"]}
    assert "public.todo" in found["tables"]["tracked"]
    assert "public.django_session" in found["tables"]["untracked"]
    assert {cost["name"] for cost in found["cost_a_day"]} == set(found["tables"]["tracked"])
    printed = io.StringIO()
    call_command("bemi", "doctor", stdout=printed)
    assert "warning: (bemi.D006) While no worker runs" in printed.getvalue()
    assert "more WAL" in printed.getvalue()


@pytest.mark.administrator
def test_what_stops_recording_is_an_exit_status_of_1(source: None) -> None:
    execute("ALTER PUBLICATION bemi DROP TABLE tag")
    found, error = examined()
    assert error == "findings that stop recording: bemi.W004"
    assert found["findings"][0]["id"] == "bemi.W004" and found["findings"][0]["stops"]
    assert "bemi sync" in found["findings"][0]["remedy"]
    tracking.sync()
    assert examined()[1] == ""


@pytest.mark.administrator
def test_before_the_installation_it_says_what_will_be(source: None, settings: Any) -> None:
    name = "doctor_fresh"
    roles.drop_database(name)
    with roles.administrator() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    original = connection.settings_dict
    connection.close()
    connection.settings_dict = {**original, "NAME": name}
    try:
        execute("CREATE TABLE ours (id int PRIMARY KEY, t text)")
        execute("INSERT INTO ours SELECT i, 'x' FROM generate_series(1, 100) i; ANALYZE ours")
        execute("CREATE TABLE silk_request (id int PRIMARY KEY); CREATE UNLOGGED TABLE fast (id int)")
        settings.BEMI_INCLUDE = ["public.*", "typo.*"]
        found, error = examined()
        assert error == ""
        assert {"bemi.D009", "bemi.D012", "bemi.W006", "bemi.W013"} <= {
            finding["id"] for finding in found["findings"]
        }
        assert found["tables"]["tracked"] == ["public.ours", "public.silk_request"]
        printed = io.StringIO()
        call_command("bemi", "doctor", stdout=printed)
        assert "\n0 tables tracked, 2 to be tracked, 1 not: 1 unlogged\n" in printed.getvalue()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE '\\_bemi%'")
            assert cursor.fetchone() == (0,)
            cursor.execute("SELECT count(*) FROM pg_event_trigger")
            assert cursor.fetchone() == (0,)
    finally:
        connection.close()
        connection.settings_dict = original
        roles.drop_database(name)


def test_a_published_table_without_an_identity_refuses_updates(source: None) -> None:
    execute(
        "CREATE SCHEMA doctor; CREATE TABLE doctor.keyless (id int); INSERT INTO doctor.keyless VALUES (1)"
    )
    execute("CREATE PUBLICATION doctor_other FOR TABLE doctor.keyless")
    try:
        (finding,) = tables.findings("default", [])
        assert (finding.id, finding.stops) == ("bemi.D010", True) and "doctor.keyless" in finding.message
        execute("ALTER TABLE doctor.keyless REPLICA IDENTITY FULL; UPDATE doctor.keyless SET id = 2")
        assert list(tables.findings("default", [])) == []
    finally:
        execute("DROP PUBLICATION doctor_other; DROP SCHEMA doctor CASCADE")


def test_tables_and_columns_of_known_packages_are_found(source: None, settings: Any) -> None:
    found = list(
        known_tables.findings("default", ["public.silk_request", "public.wagtailsearch_indexentry_1"])
    )
    assert ids(found) == ["bemi.D012", "bemi.D012"]
    assert "BEMI_EXCLUDE" in found[0].remedy
    (secret,) = known_tables.findings("default", ["public.authtoken_token"])
    assert secret.id == "bemi.D013" and "'authtoken_token.key'" in secret.remedy
    settings.BEMI_MASKED_FIELDS = ["authtoken_token.*"]
    assert list(known_tables.findings("default", ["public.authtoken_token"])) == []


def test_the_cost_grows_with_what_is_written_and_its_width(source: None) -> None:
    Todo.objects.bulk_create(Todo(task="x" * 150) for _ in range(50))
    Todo.objects.update(is_completed=True)
    execute("ANALYZE todo")
    # A session reports what it has done when it is idle, or when it ends.
    connection.close()
    until(lambda: sum(found.writes for found in cost.estimate("default", ["public.todo"])) >= 100)
    ((name, _, wal, log),) = cost.estimate("default", ["public.todo"])
    assert name == "public.todo" and 0 < wal < log
    small, large = cost._of("a", 10, 10, 10, 100), cost._of("a", 10, 10, 10, 1000)
    assert small.writes == large.writes == 30
    assert small.wal_bytes < large.wal_bytes and small.log_bytes < large.log_bytes
    assert cost._of("a", 0, 10, 0, 100).log_bytes > cost._of("a", 10, 0, 0, 100).log_bytes


@pytest.mark.administrator
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_versions_of_the_logs_servers_are_examined_too(
    source: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEMI_DESTINATION = "other"
    major, minor = divmod(connection.pg_version, 10000)  # type: ignore[attr-defined]
    traps = [
        versions._Trap({major: (minor, minor + 1)}, what, is_of_stream=is_of_stream)
        for what, is_of_stream in (("the stream ends", True), ("indexes lack rows", False))
    ]
    monkeypatch.setattr(versions, "_TRAPS", traps)
    assert [finding.message for finding in versions.findings("default")] == [
        f"The server of 'default' is PostgreSQL {major}.{minor}: the stream ends.",
        f"The server of 'default' is PostgreSQL {major}.{minor}: indexes lack rows.",
        f"The server of 'other' is PostgreSQL {major}.{minor}: indexes lack rows.",
    ]


def test_a_slot_of_another_name_that_nobody_reads_is_found(source: None) -> None:
    def leftover() -> list[Finding]:
        return [f for f in server.findings("default") if f.id == "bemi.D008" and "bemi_leftover" in f.message]

    assert leftover() == []
    execute("SELECT pg_create_logical_replication_slot('bemi_leftover', 'pgoutput')")
    try:
        (finding,) = leftover()
        assert finding.remedy.endswith("run SELECT pg_drop_replication_slot('bemi_leftover').")
    finally:
        execute("SELECT pg_drop_replication_slot('bemi_leftover')")


@pytest.mark.parametrize(
    ("changed", "given", "expected"),
    [
        ({}, (4, 0, False, False), ["bemi.D002"]),
        ({}, (4, 0, True, False), []),
        ({}, (0, 4, False, False), ["bemi.D003"]),
        ({}, (0, 4, False, True), []),
        ({"max_replication_slots": 5, "max_wal_senders": 5}, (4, 4, False, False), []),
    ],
)
def test_slots_and_senders_that_are_used_up_are_found(
    changed: dict[str, int], given: Any, expected: list[str]
) -> None:
    settings = {"max_replication_slots": 4, "max_wal_senders": 4, **changed}
    assert ids(server._capacity(settings, *given)) == expected


@pytest.mark.administrator
def test_a_role_that_may_not_replicate_is_found(source: None) -> None:
    config = worker_config("default")
    assert "bemi.D004" not in ids(way.findings("default", config))
    execute("CREATE ROLE doctor_web LOGIN PASSWORD 'secret'")
    try:
        weak = {**config.addresses()[0], "user": "doctor_web", "password": "secret"}
        changed = config._replace(source=weak, ask=None)
        (finding,) = [f for f in way.findings("default", changed) if f.id == "bemi.D004"]
        assert finding.stops and "ALTER ROLE doctor_web REPLICATION" in finding.message
        assert "secret" not in finding.message
    finally:
        execute("DROP ROLE doctor_web")


@pytest.mark.administrator
def test_a_running_worker_is_not_disturbed(source: None) -> None:
    pipeline = Pipeline.of_project(SLOT)
    try:
        pipeline.run()
        with pipeline.worker():
            pipeline.wait_until_read()
            refused = worker_config("default")._replace(source={"host": "/nowhere"}, ask=None)
            assert "bemi.D004" not in ids(way.findings("default", refused))
    finally:
        pipeline.drop()


@pytest.mark.administrator
def test_a_pooler_is_found(source: None) -> None:
    assert not way.has_pooler("default")
    pooler = Pooler(conf.connection_parameters("default"))
    original = connection.settings_dict
    try:
        connection.close()
        connection.settings_dict = {**original, "HOST": pooler.host, "PORT": str(pooler.port)}
        assert way.has_pooler("default")
        assert "bemi.D005" in ids(way.findings("default", worker_config("default")))
    finally:
        connection.close()
        connection.settings_dict = original
        pooler.close()


@pytest.mark.administrator
@pytest.mark.parametrize(
    ("taken", "named"),
    [
        ("SELECT ON _bemi.relations", "SELECT ON TABLE _bemi.relations"),
        ("UPDATE ON _bemi.checkpoint", "UPDATE ON TABLE _bemi.checkpoint"),
        ("USAGE ON SCHEMA _bemi", "USAGE ON SCHEMA _bemi"),
        ("EXECUTE ON FUNCTION _bemi.partition_v1(timestamptz)", "EXECUTE ON FUNCTION _bemi.partition_v1"),
        (
            "EXECUTE ON FUNCTION _bemi.seal_v1(text, text, text, bytea, bytea, bytea, bytea, bytea)",
            "EXECUTE ON FUNCTION _bemi.seal_v1",
        ),
        ("SELECT ON _bemi.baseline_rows", "SELECT ON TABLE _bemi.baseline_rows"),
    ],
)
def test_a_worker_that_lost_a_right_is_found(source: None, taken: str, named: str) -> None:
    script = io.StringIO()
    options = ["--worker", "doctor_worker", "--reader", "doctor_reader"]
    call_command("bemi", "grants", *options, stdout=script)
    try:
        execute(script.getvalue())
        assert [f for f in rights.findings("default") if "doctor_" in f.message] == []
        execute(f"REVOKE {taken} FROM doctor_worker, doctor_reader")
        (finding,) = [f for f in rights.findings("default") if "doctor_" in f.message]
        assert finding.stops and "--worker doctor_worker" in finding.remedy
        assert named in finding.message and finding.message.count(" ON ") == 1
    finally:
        for name in ("doctor_worker", "doctor_reader"):
            execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        (
            {"sync_replication_slots": "off", "hot_standby_feedback": "off", "primary_conninfo": "host=a"},
            ["sync_replication_slots = on", "hot_standby_feedback = on", "primary_slot_name",
             "dbname in primary_conninfo"],
        ),
        (
            {"sync_replication_slots": "on", "hot_standby_feedback": "on", "primary_slot_name": "s",
             "primary_conninfo": "host=a dbname=b"},
            [],
        ),
    ],
)  # fmt: skip
def test_what_a_standby_lacks_is_named(settings: dict[str, str], lacking: list[str]) -> None:
    assert list(standbys._lacking(settings)) == lacking


def test_a_server_without_standbys_needs_no_settings_for_them(source: None) -> None:
    assert list(standbys.findings("default")) == []


def test_every_finding_is_listed_once() -> None:
    assert doctor.__doc__ is not None
    listed = re.findall(r"^bemi\.D\d+", doctor.__doc__, re.MULTILINE)
    files = Path(doctor.__file__).parent.glob("*.py")
    found = {name for file in files for name in re.findall(r'"(bemi\.D\d+)"', file.read_text())}
    assert len(listed) == len(set(listed)) and set(listed) == found
