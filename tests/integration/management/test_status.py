"""``bemi status`` and the check of the worker."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone, translation

from bemi_django import conf
from bemi_django.admin.pages.health import health_page, health_tables
from bemi_django.admin.pages.health.health_sources import baseline_facts, source_facts
from bemi_django.checks import databases
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.selection.configured import configured_selection
from bemi_django.management import status_command
from bemi_django.models import Change, DeadLetter
from bemi_django.retention import months
from bemi_django.schema import tracking
from bemi_django.schema.locking import Claim
from bemi_django.status import log_growth, time_limits, worker_status
from bemi_django.status.baselines import read_baselines
from bemi_django.status.log_status import read_log, read_lost_months
from bemi_django.status.recording import problems_of, read_recording
from bemi_django.status.worker_status import (
    NEVER_RUN,
    NOT_RUNNING,
    RUNNING,
    LogEnd,
    WorkerStatus,
    lag_seconds,
)
from sample_project.todos.models import Todo
from tests.support.old_months import drop, make, moment_in, old_months, write
from tests.support.pipeline import Pipeline
from tests.support.polling import until
from tests.support.project_database import another_session, execute

STILL = LogEnd(300.0, 300.0, "1", "", {})


@pytest.fixture
def pipeline(transactional_db: None, settings: Any) -> Iterator[Pipeline]:
    settings.BEMI_SLOT = "bemi_status"
    tracking.sync()
    pipeline = Pipeline.of_project("bemi_status")
    yield pipeline
    pipeline.drop()
    tracking.sync()


def status(*arguments: str) -> tuple[str, str]:
    """Return the output of the command, and what has to be done."""
    output = io.StringIO()
    try:
        call_command("bemi", "status", *arguments, stdout=output)
    except CommandError as error:
        return output.getvalue(), str(error)
    return output.getvalue(), ""


def as_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(status("--json")[0])
    return found


def test_recording_that_has_not_begun_says_how_to_begin(pipeline: Pipeline) -> None:
    output, problem = status()
    assert "never run (slot bemi_status)" in output and "gaps       0" in output
    assert problem == "recording has not begun: start 'manage.py bemi run'"
    (warning,) = databases.check_worker("default")
    assert warning.id == databases.WORKER and "not recorded yet" not in warning.msg
    assert "recording begins when its worker first runs" in warning.msg


def _size_of_months(found: dict[str, Any]) -> int:
    return sum(month["size"] for month in found["growth"]["months"])


def test_all_is_well_while_the_worker_runs(pipeline: Pipeline) -> None:
    with pipeline.worker():
        # What was committed before the slot was made is not recorded.
        until(lambda: as_json()["worker"]["state"] == RUNNING)
        Todo.objects.create(task="x")
        until(lambda: Change.objects.filter(table="todo").exists())
        found = as_json()
        assert found["worker"]["state"] == RUNNING and found["problems"] == []
        assert found["worker"]["log_end"]["change_age"] >= 0
        assert found["log"]["table"] == "public.changes" and found["log"]["months"] >= 1
        growth = found["growth"]
        assert len(growth["months"]) == found["log"]["months"]
        # They are asked for one after the other, and meanwhile the server makes a file larger.
        until(lambda: _size_of_months(now := as_json()) == now["log"]["size"])
        assert growth["bytes_a_day"] > 0 and found["log"]["size"] < growth["in_30_days"] < growth["in_a_year"]
        assert "public.todo" in found["tables"]["tracked"]
        assert "public.django_session" in found["tables"]["untracked"]
        assert status("--quiet") == ("", "")
        assert "worker     running (slot bemi_status)" in status()[0]
        assert databases.check_worker("default") == []


def test_another_clock_of_the_source_is_no_lag(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    with pipeline.worker():
        until(lambda: as_json()["worker"]["state"] == RUNNING)
        ahead = worker_status._SLOT.replace(
            "clock_timestamp())", "clock_timestamp() + interval '3 hours')", 1
        )
        monkeypatch.setattr(worker_status, "_SLOT", ahead)
        Todo.objects.create(task="x")
        until(lambda: Change.objects.filter(table="todo").exists())
        found = as_json()["worker"]["log_end"]
    # By its clock, the last change was committed so long ago.
    assert found["change_age"] == pytest.approx(10_800, abs=300)
    assert found["clock_lead"] == pytest.approx(-10_800, abs=300)
    monkeypatch.setattr(worker_status, "_NEWEST", "SELECT 10801.0::float8, 10801.5::float8 -- {}")
    log_end = LogEnd(1.0, 1.0, "1", "", {}, clock_lead=10_800.0)
    assert lag_seconds(log_end, 1, is_running=True) == 1.5


def test_a_worker_that_is_gone_is_a_problem(pipeline: Pipeline) -> None:
    pipeline.run()
    Todo.objects.create(task="x")
    output, problem = status("--quiet")
    assert output == ""
    assert problem.startswith(
        "the worker is not running, and the server keeps all WAL: start 'manage.py bemi run'"
    )
    found = as_json()["worker"]
    assert found["lag_bytes"] > 0 and found["waited_seconds"] == 0
    pipeline.source.administer("SELECT pg_logical_emit_message(false, 'other', repeat('x', 2000000))")
    pipeline.source.administer("CHECKPOINT")
    assert as_json()["worker"]["waited_seconds"] > 0
    (warning,) = databases.check_worker("default")
    assert "is not running" in warning.msg


def test_a_slot_that_is_gone_is_a_problem_and_no_beginning(pipeline: Pipeline) -> None:
    pipeline.run()
    pipeline.stop()
    pipeline.release()
    pipeline.source.administer("SELECT pg_drop_replication_slot('bemi_status')")
    output, problem = status()
    assert "worker     slot gone (slot bemi_status)" in output
    assert problem.startswith(
        "the replication slot bemi_status is gone: run 'manage.py bemi run --accept-gap'"
    )
    (warning,) = databases.check_worker("default")
    assert "any more" in warning.msg and "--accept-gap" in str(warning.hint)
    ((fact,), _) = source_facts("default", None)
    assert (fact.value, fact.state) == ("its replication slot is gone", "bad")
    assert fact.command == "python manage.py bemi run --accept-gap"


def test_what_could_not_be_stored_and_why_the_worker_is_stuck_are_problems(pipeline: Pipeline) -> None:
    pipeline.run()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE _bemi.checkpoint SET trouble = 'run bemi skip 0/1'")
    DeadLetter.objects.create(
        slot="bemi_status", position=1, message=b"", origin={}, reason="broken", created_at=timezone.now()
    )
    _, problem = status("--quiet")
    assert "run bemi skip 0/1" in problem
    assert "stored completely: 1; run 'manage.py bemi retry-dead-letters'" in problem


def test_tables_are_counted_with_the_reason_why_they_are_not_tracked(
    pipeline: Pipeline, settings: Any
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER PUBLICATION bemi DROP TABLE tag")
    assert as_json()["tables"]["untracked"]["public.tag"] == "missing: published"
    output, problem = status()
    assert "1 missing: published" in output
    assert "tables that are not up to date: 1; run 'manage.py bemi sync'" in problem
    # To follow the advice must not end what an Alembic revision has begun.
    settings.BEMI_EXCLUDE = ["public.tag", "public.todo"]
    _, problem = status()
    assert "recorded though the settings leave them out: 1; name them in BEMI_INCLUDE" in problem
    # What is synchronised after the test is tracked again.
    del settings.BEMI_EXCLUDE


@pytest.mark.parametrize(
    ("worker", "problem"),
    [
        (WorkerStatus("s", NEVER_RUN), "recording has not begun"),
        (WorkerStatus("s", NOT_RUNNING), "the worker is not running"),
        (WorkerStatus("s", NOT_RUNNING, wal_status="lost"), "bemi run --database other --accept-gap"),
        (WorkerStatus("s", RUNNING, wal_status="unreserved"), "at its next checkpoint"),
        (WorkerStatus("s", RUNNING, lag_bytes=1, lag_seconds=301), "the log is 301 s behind"),
        (WorkerStatus("s", RUNNING, lag_bytes=1, lag_seconds=299), ""),
        # A standby that is waited for is away, the log is locked, or the process stands still.
        (WorkerStatus("s", RUNNING, STILL, waited_seconds=30), "nothing has arrived in the log for 300 s"),
        (WorkerStatus("s", RUNNING, STILL, waited_seconds=29), ""),
        (
            WorkerStatus("s", RUNNING, STILL._replace(is_being_written=True), "", 1, 301, waited_seconds=30),
            "the log is 301 s behind",
        ),
        (WorkerStatus("s", RUNNING, STILL._replace(age=299), waited_seconds=30), ""),
    ],
)
def test_each_state_of_the_worker_has_its_problem(
    pipeline: Pipeline, worker: WorkerStatus, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_recording("default")._replace(database="other", worker=worker)
    problems = list(problems_of(found))
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)
    monkeypatch.setattr(databases, "read_worker", lambda alias: worker)
    hints = "".join(str(warning.hint) for warning in databases.check_worker("default"))
    assert ("--accept-gap" in hints) == ("--accept-gap" in problem)


@pytest.mark.parametrize(
    ("room", "disk", "a_day", "text"),
    [
        (None, None, 10, "without limit (max_slot_wal_keep_size), and how much the disk has room for is not"),
        (4096, None, 2048, "4.0 kB more until the server removes it, in about 2.0 days"),
        (4096, 8192, 0, "4.0 kB more until the server removes it"),
        (None, 4096, 1024, "4.0 kB more until the disk is full, in about 4.0 days"),
        (8192, 0, 1024, "0 B more until the disk is full, in about 0.0 days"),
    ],
)
def test_how_long_there_is_room_for_wal_is_said(
    room: int | None, disk: int | None, a_day: int, text: str
) -> None:
    worker = WorkerStatus("s", NOT_RUNNING, None, "reserved", room_bytes=room, disk_bytes=disk)
    worker = worker._replace(bytes_a_day=a_day)
    assert text in status_command._room(worker)


def test_the_health_page_shows_how_the_log_grows(
    pipeline: Pipeline, admin_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    pipeline.run()
    found = log_growth.read_growth("default")
    known = found._replace(months=[found.months[-1]._replace(month="2026-12")])
    monkeypatch.setattr(health_page, "read_growth", lambda alias: known)
    page = admin_client.get(reverse("admin:bemi_django_change_health")).content.decode()
    # A lock on the log keeps nobody waiting.
    monkeypatch.setattr(time_limits, "_LIMIT", time_limits._LIMIT.replace("3s", "1ms"))
    with another_session() as other:
        other.execute("DELETE FROM changes WHERE false")
        for is_worker in (False, True):
            if is_worker:
                Checkpoints(None, "any").claim(other)
            end = worker_status.read_worker("default").log_end
            assert end is not None and end.is_being_written is is_worker
        other.execute("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE")
        locked = admin_client.get(reverse("admin:bemi_django_change_health")).content.decode()
    assert "cannot be read now" in locked and "only a part of the log" not in locked
    assert "a day" in page and '<th scope="row">December 2026</th>' in page
    with translation.override("de"):
        shown = health_page._growth()
    assert shown is not None and shown["months"][0][0] == "Dezember 2026"


@pytest.mark.parametrize(
    ("zone", "style"),
    # The abbreviation of Irish summer time is read as that of Israel.
    [("Europe/Dublin", "SQL, DMY"), ("America/New_York", "ISO"), ("Pacific/Kiritimati", "German")],
)
def test_months_are_those_of_utc_however_the_session_prints_moments(
    zone: str, style: str, transactional_db: None
) -> None:
    def found() -> tuple[object, ...]:
        growth = [month.month for month in log_growth.read_growth("default").months]
        return read_log("default").last_month, growth, months.months("default")

    with old_months():
        expected = found()
        try:
            execute(
                "SELECT set_config('TimeZone', %s, false), set_config('DateStyle', %s, false)", [zone, style]
            )
            assert found() == expected
        finally:
            connection.close()


def test_last_month_counts_for_the_forecast_where_clocks_were_put_forward(transactional_db: None) -> None:
    query = log_growth._MONTHS.replace("now()", "timestamptz '2003-04-02 00:00Z'")
    make("2003-03")
    try:
        for zone in ("UTC", "Europe/Berlin", "Pacific/Kiritimati"):
            execute("SELECT set_config('TimeZone', %s, false)", [zone])
            assert ("2003-03", True) in [(month, is_recent) for month, _, _, is_recent in execute(query)]
    finally:
        connection.close()
        drop("2003-03")


def test_a_lost_month_is_one_of_utc_in_any_session(transactional_db: None) -> None:
    """March begins in New York when it is UTC's, and has other days than the month after it."""
    with old_months():
        write(1, "2003-05")
        execute("SELECT _bemi.recount_v1(%s, %s)", [moment_in("2003-05")] * 2)
        execute("DROP TABLE changes_2003_05")
        try:
            for zone in ("UTC", "America/New_York", "Pacific/Kiritimati"):
                execute("SELECT set_config('TimeZone', %s, false)", [zone])
                assert read_lost_months("default") == ["2003-05"]
                assert execute(
                    "SELECT committed_at = '2003-05-31 23:59:59.999999Z' FROM _bemi.incomplete "
                    "WHERE database = 'shop' AND NOT is_noted"
                ) == [(True,)]
        finally:
            connection.close()


def test_the_health_page_tells_of_the_worker_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_is_of_test_runner", lambda alias: False)
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    assert databases.WORKER in {message.id for message in databases.check_databases(["default"])}
    assert databases.WORKER not in {message.id for message in health_page._checked()}


def test_what_was_left_out_is_counted_by_table(pipeline: Pipeline, settings: Any) -> None:
    settings.BEMI_IGNORE_COLUMNS = ["todo.is_completed"]
    pipeline.config = pipeline.config._replace(selection=configured_selection())
    try:
        assert "ignored: public.todo.is_completed" in tracking.sync().done
        assert "public.todo: without is_completed\n" in status()[0]
        pipeline.run()
        Todo.objects.create(task="Sleep")
        Todo.objects.update(is_completed=True)
        pipeline.run()
        expected = "without is_completed, changes left out: 1 (ignored columns)"
        assert f"left out   public.todo: {expected}" in status()[0]
        assert as_json()["left_out"] == [
            {"table": "public.todo", "columns": ["is_completed"], "changes": {"ignored columns": 1}}
        ]
        (shown,) = [table for table in health_tables.table_health("default") if table.name == "public.todo"]
        assert shown.is_tracked and shown.reason == expected
        assert "is_completed" in str(Change.objects.get(table="todo").unavailable)
    finally:
        settings.BEMI_IGNORE_COLUMNS = []
        tracking.sync()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM _bemi.omitted_columns")
            cursor.execute("DELETE FROM _bemi.omitted_changes")
        tracking.sync()


@pytest.fixture
def baselines(pipeline: Pipeline) -> Iterator[None]:
    """A baseline that has come as far as row 30, and one that has ended."""
    for _ in range(60):
        Todo.objects.create(task="x")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE todo")
        cursor.execute(
            "INSERT INTO _bemi.baselines (relation, root, history, rows, recorded, ended_at) VALUES "
            "('todo'::regclass, '{public,todo}', 'x', 30, 20, NULL), "
            "('tag'::regclass, '{public,tag}', 'x', 1, 1, now())"
        )
        yield
        cursor.execute("DELETE FROM _bemi.baselines")


def test_a_baseline_that_has_not_ended_is_shown_with_its_progress(
    baselines: None, pipeline: Pipeline, admin_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    pipeline.run()
    (line,) = [line for line in status()[0].splitlines() if line.startswith("baseline")]
    assert "public.todo: 50 %, 30 rows read, 20 recorded, since " in line
    assert line.endswith("UTC, interrupted, the same command continues")
    health = reverse("admin:bemi_django_change_health")
    page = admin_client.get(health).content.decode()
    assert "python manage.py bemi baseline public.todo" in page and "50% of the table, rows read: 30" in page
    with another_session() as cursor:
        assert Claim(cursor, f"_bemi.baseline/{oid('todo')}/", "_bemi.baselines", "INSERT").take() == ""
        assert status()[0].count("UTC, running\n") == 1
        assert "bemi baseline public.todo" not in admin_client.get(health).content.decode()
        (found,) = as_json()["baselines"]
        assert (found["rows"], found["estimate"], found["is_running"]) == (30, 60, True)
    # All rows of a queue are for the log, too; those of a sink are not.
    with connection.cursor() as cursor:
        cursor.execute("UPDATE _bemi.baselines SET sink = 'bemi_a@7/5' WHERE ended_at IS NULL")
    assert "30 rows read, 20 sent to the logs of a queue, since " in status()[0]
    assert "bemi baseline public.todo --to nats://" in admin_client.get(health).content.decode()
    with another_session() as cursor:
        of_queue = f"_bemi.baseline/bemi_a@7/5/{oid('todo')}/"
        assert Claim(cursor, of_queue, "_bemi.baselines", "INSERT").take() == ""
        assert [one.is_running for one in read_baselines("default")] == [True]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE _bemi.baselines SET sink = 'bemi_a' WHERE ended_at IS NULL")
    assert read_baselines("default") == []


def oid(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::regclass::oid::int", [table])
        return int(cursor.fetchone()[0])


def test_a_part_of_a_table_has_no_share(baselines: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE _bemi.baselines SET condition = 'id > 1' WHERE ended_at IS NULL")
    (found,) = read_baselines("default")
    assert found.percent is None and str(found).startswith("public.todo where id > 1: 30 rows read")
    (fact,) = baseline_facts("default")
    assert fact.command == "" and fact.state == "warning"


def test_what_waits_in_a_queue_is_told(pipeline: Pipeline) -> None:
    pipeline.run()
    # Where the log is in the source, its checkpoint is ahead of what the slot has confirmed.
    pipeline.log.run(
        "UPDATE _bemi.checkpoint "
        "SET lsn = confirmed_flush_lsn - 4096, updated_at = updated_at - interval '1 hour' "
        "FROM pg_replication_slots WHERE slot_name = slot AND slot = %s",
        [pipeline.slot],
    )
    output, problem = status()
    assert re.search("^queue +[0-9.]+ .* of WAL published and not in the log yet$", output, re.MULTILINE)
    assert (
        "start 'manage.py bemi consume' if there is a queue, and if it runs, 'manage.py bemi doctor' says"
        in problem
    )
    assert as_json()["worker"]["queued_bytes"] > 0
