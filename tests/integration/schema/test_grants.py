"""Roles with no more rights than they need: the owner of the tables, the worker, readers, handlers."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from itertools import cycle
from typing import Any

import psycopg2
import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from bemi_django import conf, on_change
from bemi_django.checks.log_table import check_log_table
from bemi_django.exceptions import BemiError, Refused
from bemi_django.handlers import registry as handlers
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.ingest import error_advice
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.metrics.answers import Answers
from bemi_django.metrics.samples import read_samples
from bemi_django.models import Change
from bemi_django.retention.pruning import prune
from bemi_django.schema import tracking
from bemi_django.status.recording import read_recording
from tests.support.polling import DEADLINE, until
from tests.support.separate_roles import SLOT, django_as, grant, may, superuser

#: What servers say, in several languages, of a right that a role does not have.
DENIALS = (
    "permission denied for {kind} {name}",
    "keine Berechtigung f\u00fcr Tabelle {name}",
    "\u30c6\u30fc\u30d6\u30eb{name}\u3078\u306e\u30a2\u30af\u30bb\u30b9\u304c\u62d2\u5426\u3055\u308c\u307e\u3057\u305f",
)

# It makes roles of its own.
pytestmark = pytest.mark.administrator


def test_what_the_worker_lacks_is_granted_by_the_line_that_the_refusal_prints(
    roles: dict[str, dict[str, Any]],
) -> None:
    """Whatever right of ours was taken from the worker."""
    parameters = roles["bemi_worker"]
    owned = """
SELECT CASE o.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, o.oid::regclass::text, a.privilege_type
FROM pg_class o, aclexplode(o.relacl) a
WHERE o.relnamespace = '_bemi'::regnamespace AND a.grantee = 'bemi_worker'::regrole
UNION ALL
SELECT 'FUNCTION', o.oid::regprocedure::text, a.privilege_type FROM pg_proc o, aclexplode(o.proacl) a
WHERE o.pronamespace = '_bemi'::regnamespace AND a.grantee = 'bemi_worker'::regrole
"""
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(owned)
        rights = cursor.fetchall()
        assert {kind for kind, _name, _privilege in rights} == {"TABLE", "VIEW", "FUNCTION"}
        languages = cycle(DENIALS)
        for kind, name, privilege in rights:
            name = name.partition("(")[0]
            refusal = next(languages).format(kind=kind.lower(), name=name.removeprefix("_bemi."))
            refuse = f"DO $$ BEGIN RAISE insufficient_privilege USING message = '{refusal}'; END $$"
            with closing(psycopg2.connect(**parameters)) as worker, worker.cursor() as asking:
                with pytest.raises(psycopg2.Error) as raised:
                    asking.execute(refuse)
                advice = str(error_advice.of_statement(raised.value))
            granted, _, place = advice.rpartition("GRANT ")[2].partition(" ON ")
            assert place == f"{'FUNCTION ' * (kind == 'FUNCTION')}{name} TO bemi_worker", advice
            assert privilege in granted.split(", ")


def test_the_worker_needs_what_grants_prints_and_nothing_more(roles: dict[str, dict[str, Any]]) -> None:
    worker = roles["bemi_worker"]
    supervisor = Supervisor(WorkerConfig(worker, worker, SLOT, conf.publication()))
    supervisor.run(until_current=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TYPE pair AS (a int, b text); CREATE TABLE tool (id int PRIMARY KEY, p pair, "
            "g int GENERATED ALWAYS AS (id * 2) STORED)"
        )
    call_command("bemi", "sync", stdout=io.StringIO())
    # The type is in a schema that is closed to PUBLIC.
    grant()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tool VALUES (1, ROW(1, 'x'))")
    Supervisor(WorkerConfig(worker, worker, SLOT, conf.publication())).run(until_current=True)
    with closing(psycopg2.connect(**roles["bemi_reader"])) as opened, opened.cursor() as cursor:
        cursor.execute("""SELECT primary_key, after FROM changes WHERE "table" = 'tool'""")
        assert cursor.fetchall() == [("1", {"g": 2, "id": 1, "p": {"a": 1, "b": "x"}})]
    for forbidden in (
        "SELECT FROM tool",
        "SELECT FROM auth_user",
        "SELECT FROM changes",
        "SELECT FROM _bemi.dead_letters",
        "DELETE FROM _bemi.subject_keys",
        "UPDATE _bemi.subject_keys SET key = ''",
        "SELECT FROM _bemi.activity",
        "INSERT INTO _bemi.activity VALUES ('user', true, now(), '', '', '7', '', 1)",
        "SELECT _bemi.recount_v1(now(), now())",
        "SELECT _bemi.past_make_v1(1)",
        "DELETE FROM changes",
        "UPDATE changes SET context = '{}'",
        "DELETE FROM _bemi.checkpoint",
        "TRUNCATE changes",
        "CREATE TABLE public.x (a int)",
    ):
        assert not may(worker, forbidden), forbidden
    # As providers do for all tables of a schema.
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE changes ENABLE ROW LEVEL SECURITY; INSERT INTO tool VALUES (2)")
    assert [found.id for found in check_log_table("default") if "security" in found.msg] == ["bemi.W025"]
    with pytest.raises(Refused, match="ALTER TABLE public.changes DISABLE ROW LEVEL SECURITY"):
        Supervisor(WorkerConfig(worker, worker, SLOT, conf.publication())).run(until_current=True)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE changes DISABLE ROW LEVEL SECURITY")


def test_what_the_worker_may_not_read_is_no_problem_of_its_probes(
    roles: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever deploys it with the rights that are printed has a worker that gets ready."""
    monkeypatch.setattr(handlers, "registered", {})
    on_change(Group, name="of another process")(print)
    worker = roles["bemi_worker"]
    config = WorkerConfig(worker, worker, SLOT, conf.publication())
    with django_as(worker), ThreadPoolExecutor(1) as pool:
        supervisor = Supervisor(config)
        running = pool.submit(supervisor.run)
        try:
            until(lambda: read_recording("default").worker.state == "running")
            found = read_recording("default")
            assert (found.log.gaps, found.log.dead_letters, found.handlers) == (None, None, [])
            assert Answers(["default"]).readiness() == (200, "text/plain; charset=utf-8", b"ok\n")
            told = io.StringIO()
            call_command("bemi", "status", stdout=told)
            assert told.getvalue().count("unknown: this role may not read them") == 2
            told = io.StringIO()
            call_command("bemi", "status", "--json", stdout=told)
            assert json.loads(told.getvalue(), parse_constant=pytest.fail)["log"]["gaps"] is None
            samples = {sample.name: sample.value for sample in read_samples(["default"])}
            assert samples["bemi_log_size_bytes"] > 0 and "bemi_log_gaps" not in samples
        finally:
            supervisor.stop()
            running.result(DEADLINE)


def test_a_role_without_a_right_is_told_so(roles: dict[str, dict[str, Any]]) -> None:
    refused = pytest.raises(CommandError, match="for table retention: use its owner's role")
    with django_as(roles["bemi_reader"]), refused:
        call_command("bemi", "prune")
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute("REVOKE USAGE ON SCHEMA _bemi FROM bemi_reader")
    with django_as(roles["bemi_reader"]):
        for subcommand in ("doctor", "status"):
            with pytest.raises(CommandError, match=r"_bemi: use its owner's role"):
                call_command("bemi", subcommand)


def test_the_reader_reads_the_log_and_nothing_else(roles: dict[str, dict[str, Any]]) -> None:
    reader = roles["bemi_reader"]
    for name in ("changes", "_bemi.checkpoint", "_bemi.past", "_bemi.activity", "_bemi.saved_views"):
        allowed = f"SELECT FROM {name}"
        assert may(reader, allowed), allowed
    assert may(reader, "SELECT _bemi.past_make_v1(1)")
    for forbidden in (
        "SELECT FROM auth_user",
        "INSERT INTO changes DEFAULT VALUES",
        "UPDATE changes SET context = '{}'",
        "DELETE FROM changes",
        "UPDATE _bemi.checkpoint SET lsn = '0/0'",
        "SELECT FROM _bemi.dead_letters",
        "SELECT FROM _bemi.subject_keys",
        "SELECT FROM _bemi.alert_rules",
        "SELECT _bemi.partition_v1(now())",
        "DELETE FROM _bemi.activity",
        "INSERT INTO _bemi.activity_entries VALUES ('[]')",
        "CREATE TABLE public.x (a int)",
    ):
        assert not may(reader, forbidden), forbidden


ON_THE_LOG = (
    "INSERT INTO changes (id) VALUES (gen_random_uuid())",
    "UPDATE changes SET context = '{}'",
    "DELETE FROM changes",
    "TRUNCATE changes",
    "DELETE FROM MONTH",
    "DROP TABLE changes",
    "DROP TABLE MONTH",
    "ALTER TABLE changes ADD x int",
    "ALTER TABLE changes DETACH PARTITION MONTH",
    "ALTER TABLE changes OWNER TO app",
    "CREATE TRIGGER t BEFORE UPDATE ON changes EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON INSERT TO changes DO INSTEAD NOTHING",
    "DROP SCHEMA public CASCADE",
    "DROP SCHEMA _bemi CASCADE",
    "CREATE OR REPLACE FUNCTION _bemi.log_v1() RETURNS regclass LANGUAGE sql RETURN NULL::regclass",
    "CREATE TABLE _bemi.x (a int)",
    "UPDATE _bemi.checkpoint SET lsn = '0/0'",
    "DELETE FROM _bemi.dead_letters",
    "SELECT _bemi.partition_v1(now())",
)


def test_the_application_only_reads_a_log_of_another_role(
    roles: dict[str, dict[str, Any]],
) -> None:
    app, worker = roles["app"], roles["bemi_worker"]
    script = io.StringIO()
    call_command("bemi", "grants", "--owner", "bemi_log", stdout=script)
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(script.getvalue())
    try:
        assert may(app, "SELECT FROM changes")
        # The admin writes these for its users.
        for table in ("saved_views", "alert_rules"):
            assert may(app, f"DELETE FROM _bemi.{table}")  # noqa: S608 - a name of our own
        for statement in ON_THE_LOG:
            forbidden = statement.replace("MONTH", f"{datetime.now(timezone.utc):changes_%Y_%m}")
            assert not may(app, forbidden), forbidden
        # The application still makes its tables, and the worker writes the log, in a new month as well.
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE tool (id int PRIMARY KEY)")
        assert tracking.sync().failed == []
        config = WorkerConfig(worker, worker, SLOT, conf.publication())
        Supervisor(config).run(until_current=True)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO tool VALUES (1)")
        Supervisor(config).run(until_current=True)
        with closing(psycopg2.connect(**worker)) as opened, opened.cursor() as cursor:
            cursor.execute("SELECT _bemi.partition_v1('2031-01-01')")
            opened.commit()
        assert [change.primary_key for change in Change.objects.filter(table="tool")] == ["1"]
        assert not may(app, "DROP TABLE changes_2031_01")
    finally:
        connection.close()
        with superuser("roles") as opened, opened.cursor() as cursor:
            cursor.execute("REASSIGN OWNED BY bemi_log TO app; DROP OWNED BY bemi_log; DROP ROLE bemi_log")


def test_the_worker_removes_what_the_owner_of_the_log_has_allowed_and_nothing_else(
    roles: dict[str, dict[str, Any]], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    settings.BEMI_RETENTION = {"shop.Category": "30 days", "public.was_dropped": "30 days"}
    settings.BEMI_PRUNE_AT = "03:00"
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO changes (id, database, schema, "table", operation, committed_at, queued_at,
               transaction_id, position)
               SELECT gen_random_uuid(), 'roles', 'public', 'was_dropped', 'CREATE', now(), now(), 1, 1"""
        )
    grant()
    with connection.cursor() as cursor:
        cursor.execute("SELECT _bemi.partition_v1(now() - interval '32 days')")
        for table in ("shop_category", "shop_product"):
            cursor.execute(
                """INSERT INTO changes (id, database, schema, "table", operation, committed_at, queued_at,
                   transaction_id, position)
                   SELECT gen_random_uuid(), 'roles', 'public', %s, 'CREATE', m, m, 1, 1
                   FROM (SELECT now() - interval '32 days' AS m) x""",
                [table],
            )
        cursor.execute("SELECT _bemi.begin_pruning_v1('{}')")
        (others,) = cursor.fetchone()
    owner = connection.settings_dict
    connection.close()
    connection.settings_dict = {**owner, "USER": "bemi_worker"}
    found = prune("default", {"command": "bemi run"})
    # What it may call removes nothing else, whatever it passes.
    settings.BEMI_RETENTION = {"default": "1 day"}
    with pytest.raises(BemiError, match="the owner of the log has not allowed what BEMI_RETENTION says now"):
        prune("default", {"command": "bemi run"})
    with connection.cursor() as cursor:
        for call in (
            "SELECT _bemi.prune_month_v1(now() - interval '1 month', '[]', %s)",
            "SELECT _bemi.prune_rows_v1(now() - interval '1 month', '-infinity', "
            "'00000000-0000-0000-0000-000000000000', 1000, '[]', %s)",
            "SELECT _bemi.watch_month_v1(now() - interval '10 years', %s)",
            "SELECT _bemi.end_pruning_v1(%s, '{no}')",
        ):
            # Not in a run that is over, of another role or made up.
            for run in (found.run, others, 2**40, None):
                with (
                    transaction.atomic(),
                    pytest.raises(DatabaseError, match="The role bemi_worker has no open run"),
                ):
                    cursor.execute(call, [run])
            cursor.execute("SELECT _bemi.begin_pruning_v1('{}')")
            cursor.execute(call, cursor.fetchone())
    connection.close()
    connection.settings_dict = owner
    kept = list(Change.objects.filter(table__startswith="shop_").values_list("table", flat=True))
    assert found.changes == 2 - len(kept) and set(kept) >= {"shop_product"}
    for forbidden in (
        "UPDATE _bemi.retention SET rules = '[]'",
        "DELETE FROM _bemi.retention",
        "DELETE FROM _bemi.completeness",
        "UPDATE _bemi.prunings SET who = '{}'",
        "SELECT _bemi.drop_month_v1(now(), 1)",
        "SELECT _bemi.note_removed_v1(1, '', '', '', true, 1, 1, gen_random_uuid(), now(), 1)",
        "SELECT _bemi.note_returned_v1(now())",
        "DELETE FROM _bemi.touched",
    ):
        assert not may(roles["bemi_worker"], forbidden), forbidden
        assert not may(roles["bemi_reader"], forbidden), forbidden


TRAP = """
CREATE TEMP TABLE caught (role name);
GRANT ALL ON caught TO PUBLIC;
CREATE FUNCTION pg_temp.trap() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO pg_temp.caught VALUES (current_user); RETURN NULL; END$$;
CREATE TEMP TABLE changes (committed_at timestamptz) PARTITION BY RANGE (committed_at);
CREATE TEMP TABLE changes_default PARTITION OF changes DEFAULT;
CREATE TRIGGER trap BEFORE DELETE ON changes_default FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.trap();
CREATE TEMP TABLE pg_class AS SELECT * FROM pg_catalog.pg_class;
CREATE TEMP TABLE pg_inherits AS SELECT * FROM pg_catalog.pg_inherits;
GRANT ALL ON changes, changes_default, pg_class, pg_inherits TO PUBLIC;
SELECT _bemi.partition_v1('2031-01-01');
"""


def test_the_worker_does_not_become_the_owner_by_way_of_temporary_tables(
    roles: dict[str, dict[str, Any]],
) -> None:
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute("GRANT TEMPORARY ON DATABASE roles TO bemi_worker")
    with closing(psycopg2.connect(**roles["bemi_worker"])) as opened, opened.cursor() as cursor:
        cursor.execute(TRAP)
        cursor.execute("SELECT role::text FROM caught")
        assert cursor.fetchall() == []
        opened.commit()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.changes_2031_01') IS NOT NULL")
        assert cursor.fetchone() == (True,)


def test_a_log_of_another_owner_gets_no_partition(roles: dict[str, dict[str, Any]]) -> None:
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute("ALTER TABLE changes OWNER TO bemi_reader")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="belongs to the role bemi_reader"):
            cursor.execute("SELECT _bemi.partition_v1('2031-01-01')")


def test_an_impostor_of_the_name_of_a_partition_is_left_alone(roles: dict[str, dict[str, Any]]) -> None:
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute("CREATE TABLE public.changes_2031_01 (id int)")
        # A table has a type with its name.
        cursor.execute("CREATE TYPE public.changes_2031_01_1 AS ENUM ()")
        cursor.execute("SELECT _bemi.partition_v1('2031-01-15'), _bemi.partition_v1('2031-01-16')")
        assert cursor.fetchone() == (True, False)
        cursor.execute("SELECT relispartition FROM pg_class WHERE relname = 'changes_2031_01_2'")
        assert cursor.fetchone() == (True,)
        with superuser("roles") as other, other.cursor() as taking:
            # In a transaction that does not end.
            taking.execute(
                "BEGIN; SET LOCAL _bemi.is_following = 'yes'; CREATE TABLE changes_2031_02 (id int)"
            )
            cursor.execute("SET lock_timeout = '10ms'; SELECT _bemi.partition_v1('2031-02-15')")
            assert cursor.fetchone() == (True,)
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("10ms",)
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relispartition AND relname ~ '^changes_2031_02_[0-9]+$'"
        )
        assert cursor.fetchone() == (1,)


def test_names_that_mean_something_in_sql_are_quoted(roles: dict[str, dict[str, Any]]) -> None:
    odd = 'bob"; ALTER ROLE mallory SUPERUSER; --'
    script = io.StringIO()
    call_command("bemi", "grants", "--worker", odd, "--reader", odd, "--handlers", odd, stdout=script)
    quoted = '"bob""; ALTER ROLE mallory SUPERUSER; --"'
    lines = [line for line in script.getvalue().splitlines() if "bob" in line]
    assert lines and all(line.replace(quoted, "").count("bob") == 0 for line in lines)


def test_the_past_is_read_by_those_who_may_read_the_table(roles: dict[str, dict[str, Any]]) -> None:
    past = """
        SELECT set_config('bemi.as_of', _bemi.bound_v1(1)::text, true),
               set_config('bemi.as_of_late', '[]', true), set_config('bemi.as_of_database', '', true),
               set_config('bemi.as_of_unknown', '{}', true);
        SELECT count(*) FROM _bemi_past_public.auth_user
    """
    call_command("bemi", "sync", stdout=io.StringIO())
    assert not may(roles["bemi_reader"], past)
    with connection.cursor() as cursor:
        cursor.execute("GRANT SELECT ON auth_user TO bemi_reader")
    assert may(roles["bemi_reader"], past)
    assert not may(roles["bemi_worker"], past)


def test_the_script_may_be_run_again(roles: dict[str, dict[str, Any]]) -> None:
    script = io.StringIO()
    call_command("bemi", "grants", stdout=script)
    assert 'ALTER ROLE "bemi_worker" LOGIN REPLICATION;' in script.getvalue()
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(script.getvalue())


def test_handlers_need_what_grants_prints_and_nothing_more(
    roles: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def handle(change: Change) -> None:
        heard.append(change.after["name"])
        if change.after["name"] == "poison":
            raise ValueError

    monkeypatch.setattr(handlers, "registered", {})
    on_change(Group, name="listener", retries=0)(handle)
    worker = roles["bemi_worker"]
    config = WorkerConfig(worker, worker, SLOT, conf.publication())
    Supervisor(config).run(until_current=True)
    with django_as(roles["bemi_handlers"]):
        assert Dispatcher("default").run(until_current=True) == 0
    for name in ("a", "poison", "b"):
        Group.objects.create(name=name)
    Supervisor(config).run(until_current=True)
    with django_as(roles["bemi_handlers"]):
        assert Dispatcher("default").run(until_current=True) == 2
        assert Dispatcher("default").retry() == (0, 1)
    assert heard == ["a", "poison", "b", "poison"]
    for forbidden in (
        "SELECT FROM auth_user",
        "DELETE FROM changes",
        "UPDATE _bemi.checkpoint SET lsn = '0/0'",
    ):
        assert not may(roles["bemi_handlers"], forbidden), forbidden


def test_a_worker_without_the_right_to_call_handlers_says_so(
    roles: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "registered", {})
    on_change(Group, name="listener")(print)
    worker = roles["bemi_worker"]
    Supervisor(WorkerConfig(worker, worker, SLOT, conf.publication())).run(until_current=True)
    with django_as(worker), pytest.raises(Refused, match="grants --handlers ROLE'.* --no-handlers"):
        Dispatcher("default").run(until_current=True)


CLOSED = """
CREATE SCHEMA closed;
CREATE TYPE closed.mood AS ENUM ('sad', 'happy');
CREATE FUNCTION closed.as_json(mood closed.mood) RETURNS json IMMUTABLE LANGUAGE sql
    AS $$SELECT json_build_object('mood', mood::text)$$;
CREATE FUNCTION closed.twice(n int) RETURNS int IMMUTABLE LANGUAGE sql AS $$SELECT n * 2$$;
CREATE CAST (closed.mood AS json) WITH FUNCTION closed.as_json(closed.mood);
CREATE TABLE day (id int PRIMARY KEY, mood closed.mood, n int GENERATED ALWAYS AS (closed.twice(id)) STORED);
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA closed FROM PUBLIC;
"""


def test_what_the_worker_has_to_compute_it_may_compute(roles: dict[str, dict[str, Any]]) -> None:
    worker = roles["bemi_worker"]
    config = WorkerConfig(worker, worker, SLOT, conf.publication())
    Supervisor(config).run(until_current=True)
    with connection.cursor() as cursor:
        cursor.execute(CLOSED)
    call_command("bemi", "sync", stdout=io.StringIO())
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO day (id, mood) VALUES (21, 'happy')")
    # What cannot be computed yet is kept, to be computed later.
    Supervisor(config).run(until_current=True)
    script = io.StringIO()
    call_command("bemi", "grants", stdout=script)
    assert [line for line in script.getvalue().splitlines() if "closed" in line] == [
        "GRANT EXECUTE ON FUNCTION closed.as_json(closed.mood) TO _bemi_compute;",
        "GRANT EXECUTE ON FUNCTION closed.twice(integer) TO _bemi_compute;",
        "GRANT USAGE ON SCHEMA closed TO _bemi_compute;",
    ]
    with superuser("roles") as opened, opened.cursor() as cursor:
        cursor.execute(script.getvalue())
    call_command("bemi", "retry-dead-letters", stdout=io.StringIO())
    with closing(psycopg2.connect(**roles["bemi_reader"])) as opened, opened.cursor() as cursor:
        cursor.execute("""SELECT after, unavailable FROM changes WHERE "table" = 'day'""")
        assert cursor.fetchall() == [({"id": 21, "mood": {"mood": "happy"}, "n": 42}, None)]


def test_the_owner_looks_after_the_log_without_the_right_to_replicate(
    roles: dict[str, dict[str, Any]],
) -> None:
    worker = roles["bemi_worker"]
    supervisor = Supervisor(WorkerConfig(worker, worker, SLOT, conf.publication()))
    supervisor.run(until_current=True)
    Group.objects.create(name="x")
    out = io.StringIO()
    call_command("bemi", "retry-dead-letters", stdout=out)
    assert out.getvalue() == "0 repaired, 0 kept\n"
    at_work = Supervisor(WorkerConfig(worker, worker, SLOT, conf.publication()), Timeouts(idle=0.05))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(at_work.run)
        try:
            call_command("bemi", "verify", "public.auth_group", stdout=out)
        finally:
            at_work.stop()
            running.result()
    assert out.getvalue().endswith("public.auth_group: 1 rows, as in the log\n")
