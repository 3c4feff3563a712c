"""``bemi run``: what it connects with, and how long ``--until-current`` waits."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from bemi_django import conf
from bemi_django.exceptions import ReplicationError
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.stream.session import Session
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.pipeline import QUICK, SLOT_STATE, Pipeline
from tests.support.polling import DEADLINE, until
from tests.support.project_database import execute

# It makes roles and slots.
pytestmark = [pytest.mark.administrator, pytest.mark.django_db(transaction=True)]

SLOT = "bemi_run"


@pytest.fixture(autouse=True)
def slot(settings: Any) -> Iterator[None]:
    settings.BEMI_SLOT = SLOT
    yield
    Pipeline.of_project(SLOT).drop()


class Token:
    """The password of a role, which expires."""

    value = "first"
    asked = 0


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    """A backend that asks for the password of each connection, as those for IAM do."""
    issued = Token()
    execute("CREATE ROLE bemi_iam SUPERUSER LOGIN PASSWORD 'first'")
    original = DatabaseWrapper.get_connection_params

    def asked(self: Any) -> dict[str, Any]:
        issued.asked += 1
        return {**original(self), "user": "bemi_iam", "password": issued.value}

    connection.close()
    monkeypatch.setattr(DatabaseWrapper, "get_connection_params", asked)
    yield issued
    monkeypatch.undo()
    connections.close_all()
    execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'bemi_iam' "
        "AND pid <> pg_backend_pid()"
    )
    execute("REASSIGN OWNED BY bemi_iam TO CURRENT_USER; DROP OWNED BY bemi_iam; DROP ROLE bemi_iam")


def renew(token: Token) -> None:
    """Let the old password expire, and with it all sessions."""
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as administrator:
        administrator.autocommit = True
        with administrator.cursor() as cursor:
            cursor.execute("ALTER ROLE bemi_iam PASSWORD 'second'")
            token.value = "second"
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE usename = 'bemi_iam' AND pid <> pg_backend_pid()"
            )


def test_a_password_that_expires_is_asked_anew_for_each_connection(token: Token) -> None:
    supervisor = Supervisor(worker_config("default"), QUICK)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            supervisor.run()
        except BaseException as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'bemi_run' AND active"
        until(lambda: execute(active) == [(1,)])
        renew(token)
        connections.close_all()
        Todo.objects.create(task="after")
        logged = "SELECT count(*) FROM changes WHERE \"table\" = 'todo'"
        until(lambda: execute(logged) == [(1,)] or bool(failures))
    finally:
        supervisor.stop()
        worker.join(DEADLINE)
    assert not failures


class TokensFail:
    """A service of tokens that fails when it is asked while ``fails`` is true."""

    fails = False
    asked = 0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokensFail]:
    """A backend that asks a service for the password of each connection."""
    tokens = TokensFail()
    original = DatabaseWrapper.get_connection_params

    def get_connection_params(self: Any) -> dict[str, Any]:
        tokens.asked += tokens.fails
        if tokens.fails:
            raise RuntimeError("the token s3cret has expired")
        return original(self)

    connections.close_all()
    monkeypatch.setattr(DatabaseWrapper, "get_connection_params", get_connection_params)
    yield tokens
    tokens.fails = False
    connections.close_all()


# It may be that no stream is there.
_END_STREAM = """
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'bemi_run' AND active
"""


def test_a_worker_waits_for_what_computes_its_parameters(
    service: TokensFail, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails at the start, and again when the connections were ended."""
    supervisor = Supervisor(worker_config("default"), QUICK)
    active = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'bemi_run' AND active"
    # The test's own connection is open already.
    execute(_END_STREAM)
    service.fails = True
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(supervisor.run)
        try:
            for _ in range(2):
                until(lambda: service.asked > 2 or working.done())
                service.fails, service.asked = False, 0
                until(lambda: execute(active) == [(1,)] or working.done())
                service.fails = True
                execute(_END_STREAM)
        finally:
            supervisor.stop()
            working.result(DEADLINE)
    assert "the connection parameters of default cannot be computed (RuntimeError in get_conn" in caplog.text
    assert "s3cret" not in caplog.text


def test_handlers_wait_for_what_computes_parameters(
    service: TokensFail, caplog: pytest.LogCaptureFixture
) -> None:
    service.fails = True
    dispatcher = Dispatcher("default", [])
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(dispatcher.run)
        try:
            until(lambda: "trying again" in caplog.text or working.done())
            service.fails = False
        finally:
            dispatcher.stop()
        assert working.result(DEADLINE) == 0
    assert "the connection parameters of default cannot be computed" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--until-current"], ["status"], ["doctor"],
        ["sync"], ["verify"], ["baseline"], ["blame", "todos.Todo:1"], ["grants"], ["prune"],
        ["uninstall", "--dry-run"], ["consume", "nats://127.0.0.1:9/none", "--until-current"],
        ["as-of", "2020-01-01", "check"], ["handlers"],
        ["archive", "--before", "2020-01", "--to", "/nowhere"],
        ["retry-dead-letters"], ["skip", "0/1", "--reason", "none"],
        ["subject", "todos.Todo:1", "--export", "/nowhere"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_a_command_says_that_parameters_cannot_be_computed(
    arguments: list[str], service: TokensFail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timeouts, "patience", 0.0)
    out = io.StringIO()
    service.fails = True
    with pytest.raises(CommandError) as caught:
        call_command("bemi", *arguments, stdout=out, stderr=out)
    said = str(caught.value)
    assert "the connection parameters of default cannot be computed" in said
    assert "\n" not in said and "s3cret" not in said + out.getvalue()


@pytest.fixture
def both(settings: Any) -> Iterator[tuple[Pipeline, Pipeline]]:
    """The pipelines of two sources."""
    pipelines = Pipeline.of_project(SLOT), Pipeline.of_project(f"{SLOT}_other", "other")
    yield pipelines
    for pipeline in pipelines:
        pipeline.drop()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_one_process_works_for_all_databases(
    both: tuple[Pipeline, Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> list[str]:
        call_command("bemi", "run", "--all", "--until-current", "--log-format", "text")
        return capsys.readouterr().out.splitlines()

    first = run()
    assert {"default: 0 changes written", "other: 0 changes written"} <= set(first)
    assert any(f"other: reading the slot {SLOT}_other" in line for line in first)
    for alias in ("default", "other"):
        Todo.objects.using(alias).create(task=alias)
    assert {"default: 1 changes written", "other: 1 changes written"} <= set(run())
    assert sorted(change.after["task"] for change in Change.objects.filter(table="todo")) == [
        "default",
        "other",
    ]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_error_of_one_database_ends_the_work_for_the_others(both: tuple[Pipeline, Pipeline]) -> None:
    for pipeline in both:
        pipeline.run()
        pipeline.release()
    both[1].source.run(f"SELECT pg_drop_replication_slot('{SLOT}_other')")
    # The command that is named is about that database.
    named = "replication slot .*is gone.*'manage.py bemi run --accept-gap --database other'"
    with pytest.raises(CommandError, match=f"^other: the {named}"):
        call_command("bemi", "run", "--all", stdout=io.StringIO())
    for command in ("run", "verify", "status"):
        with pytest.raises(
            CommandError, match=named.replace("--accept-gap --database other", ".*")
        ) as raised:
            call_command("bemi", command, "--database", "other", stdout=io.StringIO())
        assert str(raised.value).count("--database other") == 1
    assert both[0].source.run(SLOT_STATE, [SLOT])


def test_a_password_that_stays_wrong_ends_the_worker(token: Token) -> None:
    config = worker_config("default")
    token.value = "wrong"
    with pytest.raises(Exception, match="password authentication failed"):
        Supervisor(config, QUICK).run()


def test_until_current_does_not_wait_for_an_open_transaction() -> None:
    with closing(
        psycopg2.connect(**conf.connection_parameters("default"), application_name="forgotten")
    ) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
        config = worker_config("default")
        with pytest.raises(
            ReplicationError, match=r"while these transactions are open: process \d+ \(forgotten"
        ):
            Supervisor(config, QUICK._replace(patience=1.0)).run(until_current=True)


def test_until_current_does_not_end_within_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline.of_project(SLOT)
    pipeline.run()
    # Each message is the last one for the moment.
    messages = Session.messages
    monkeypatch.setattr(Session, "messages", lambda session: islice(messages(session), 1))
    # Nothing of it is recorded, so only what the worker waits for moves the checkpoint.
    execute("SELECT pg_logical_emit_message(true, 'other', '')")
    ((position,),) = execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
    pipeline.run()
    assert pipeline.checkpoint() >= position


def test_until_current_ends_when_nothing_arrives() -> None:
    config = worker_config("default")
    Supervisor(config, QUICK).run(until_current=True)
    Todo.objects.create(task="x")
    with (
        closing(psycopg2.connect(**conf.connection_parameters("default"))) as other,
        other.cursor() as cursor,
    ):
        # The log cannot be written.
        cursor.execute("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE")
        quick = QUICK._replace(stall=1.0, lock=DEADLINE, patience=DEADLINE)
        with pytest.raises(ReplicationError, match="nothing has arrived for 1 s"):
            Supervisor(config, quick).run(until_current=True)
    assert Supervisor(config, QUICK).run(until_current=True) == 1
