"""Metrics of recording and health probes, over HTTP."""

from __future__ import annotations

import io
import json
import math
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from bemi_django import conf
from bemi_django.checks import databases
from bemi_django.checks.asked_databases import check_asked_databases
from bemi_django.management.worker import worker_command
from bemi_django.metrics import recent
from bemi_django.metrics.answers import Answers, of_all
from bemi_django.metrics.samples import DESCRIPTIONS, read_samples
from bemi_django.metrics.server import serving
from bemi_django.models import DeadLetter
from bemi_django.schema import tracking
from bemi_django.status import time_limits, worker_status
from bemi_django.status.recording import read_recording
from sample_project.todos.models import Todo
from tests.support import roles
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import Pipeline
from tests.support.polling import DEADLINE, until
from tests.support.project_database import another_session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.integration.metrics.urls"),
    pytest.mark.skipif(find_spec("prometheus_client") is None, reason="prometheus-client is an extra"),
]

Get = Callable[[str], tuple[int, str]]


@pytest.fixture
def pipeline(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    settings.BEMI_SLOT = "bemi_metrics"
    # The test's other databases are none of its business.
    monkeypatch.setattr(conf, "is_source", lambda alias: alias == "default")
    # A test says itself when something is to be read again.
    monkeypatch.setattr(recent, "AGE", math.inf)
    tracking.sync()
    of_all.forget()
    pipeline = Pipeline.of_project("bemi_metrics")
    pipeline.run()
    yield pipeline
    pipeline.drop()
    of_all.forget()


@pytest.fixture
def get() -> Iterator[Get]:
    """Ask the server of ``bemi run --metrics``."""
    with serving(of_all, "127.0.0.1", 0) as port:

        def ask(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        yield ask


def values(text: str) -> dict[str, float]:
    """Return the values by name and labels, as they are written."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_the_metrics_are_those_of_the_status(pipeline: Pipeline, get: Get) -> None:
    Todo.objects.create(task="a")
    status, text = get("/metrics")
    assert status == 200
    found = values(text)
    recording = read_recording("default")
    default = '{database="default"}'
    assert found["bemi_worker_running" + default] == 0
    assert 0 < found["bemi_lag_bytes" + default] <= recording.worker.lag_bytes
    assert found["bemi_log_dead_letters" + default] == 0 == found["bemi_log_gaps" + default]
    tracked = sum(table.is_tracked and not table.needs_sync for table in recording.tables)
    assert found['bemi_tables{database="default",state="tracked"}'] == tracked > 0
    assert {name for name in DESCRIPTIONS if f"# HELP {name}" in text} >= DESCRIPTIONS.keys() - {
        "bemi_wal_room_bytes",
        "bemi_handler_pending",
        "bemi_handler_undelivered",
        "bemi_worker_events",
    }


def test_the_worker_is_running_while_it_runs(pipeline: Pipeline, get: Get) -> None:
    pipeline.release()
    assert get("/readyz")[0] == 503
    with pipeline.worker():
        until(lambda: read_recording("default").worker.state == "running")
        of_all.forget()
        assert values(get("/metrics")[1])['bemi_worker_running{database="default"}'] == 1
        assert get("/readyz") == (200, "ok\n")
        DeadLetter.objects.create(
            slot="bemi_metrics", position=1, message=b"", origin={}, reason="x", created_at=timezone.now()
        )
        of_all.forget()
        status, text = get("/readyz")
        assert status == 503 and text == "1 to be resolved: run 'manage.py bemi status'\n"
    assert get("/healthz") == (200, "ok\n")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_of_several_databases_those_with_problems_are_named(pipeline: Pipeline) -> None:
    with pipeline.worker():
        until(lambda: read_recording("default").worker.state == "running")
        answer = Answers(["default", "other"]).readiness()
    assert answer.status == 503
    said = r"\d+ to be resolved: run 'manage.py bemi status --database other'\n"
    assert re.fullmatch(said, answer.body.decode())


def test_what_was_read_a_moment_ago_is_not_read_again(
    pipeline: Pipeline, get: Get, django_assert_num_queries: Any, client: Client
) -> None:
    get("/readyz")
    get("/metrics")
    with django_assert_num_queries(0):
        client.get("/bemi/readyz")
        of_all.samples.get()


def test_what_a_role_may_not_read_is_said_and_the_rest_is_there(pipeline: Pipeline) -> None:
    with roles.administrator(connection.settings_dict["NAME"]) as cursor:
        cursor.execute("ALTER TABLE _bemi.dead_letters RENAME TO away")
    try:
        found = {
            (sample.name, sample.labels.get("part")): sample.value for sample in read_samples(["default"])
        }
        answer = Answers(["default"]).readiness()
    finally:
        with roles.administrator(connection.settings_dict["NAME"]) as cursor:
            cursor.execute("ALTER TABLE _bemi.away RENAME TO dead_letters")
    assert found["bemi_read_error", "log"] == 1 and found["bemi_read_error", "worker"] == 0
    assert answer.status == 503 and b"cannot be read from here: run 'manage.py bemi doctor'\n" in answer.body
    assert ("bemi_lag_bytes", None) in found and ("bemi_log_gaps", None) not in found


def test_a_locked_log_and_a_silent_server_keep_nobody_waiting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limits, "_LIMIT", time_limits._LIMIT.replace("3s", "1ms"))
    monkeypatch.setattr(databases, "_is_of_test_runner", lambda alias: False)
    monkeypatch.setattr(worker_status, "_BRIEFLY", worker_status._BRIEFLY.replace("3s", "1ms"))
    answers = Answers(["default"])
    with another_session() as other:
        other.execute("LOCK TABLE changes, _bemi.checkpoint IN ACCESS EXCLUSIVE MODE")
        assert b"cannot be read from here" in answers.readiness().body
        assert b'bemi_read_error{database="default",part="log"} 1.0' in answers.metrics().body
        for command in ("status", "doctor"):
            with pytest.raises(CommandError, match="due to lock timeout: another session holds the lock"):
                call_command("bemi", command, stdout=io.StringIO())
        (message,) = check_asked_databases(["default"])
        assert message.id == "bemi.W022" and "holds a lock" in str(message.hint)
        with pytest.raises(OperationalError, match="lock timeout"):
            worker_status.lag_seconds(None, 1, is_running=True)
    # The rest of the session has no limit.
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)
    monkeypatch.setattr(recent, "PATIENCE", 0.001)
    for one in (answers.samples, answers._problems):
        # A thread is still reading.
        one._lock.acquire()
    assert [answer.status for answer in (answers.readiness(), answers.metrics())] == [503, 503]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/healthz%00", "/?metrics"])
def test_other_paths_are_not_found(path: str, get: Get) -> None:
    assert get(path)[0] == 404


def test_only_reading_is_answered_and_a_client_that_hangs_up_is_no_harm(
    get: Get, recwarn: pytest.WarningsRecorder
) -> None:
    with serving(Answers(["default"]), "127.0.0.1", 0) as port:
        for sent in (b"POST /metrics HTTP/1.0\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET /heal"):
            with closing(socket.create_connection(("127.0.0.1", port))) as client:
                client.sendall(sent)
                if sent.endswith(b"\n\n") or sent.endswith(b"\r\n\r\n"):
                    assert b"200" not in client.recv(100)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=DEADLINE) as answer:
            assert answer.read() == b"ok\n"


@pytest.mark.administrator
def test_a_port_that_is_taken_is_said(pipeline: Pipeline) -> None:
    pipeline.release()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            call_command("bemi", "run", "--metrics", str(port), stdout=io.StringIO())


def test_the_command_serves_them_while_the_worker_runs(trail: LoadPipeline) -> None:
    """Its role has the rights of a worker, so it cannot read all of the status."""
    trail.write(3)
    with trail.command("--metrics", "0") as worker:
        worker.says("serving metrics at http://127.0.0.1:")
        (url,) = re.findall(r"http://\S+(?=/metrics)", worker.out)
        until(lambda: trail.logged() == [1, 2, 3])
        # The server has WAL that is not confirmed, so there is a lag.
        trail.write()
        with urllib.request.urlopen(f"{url}/healthz", timeout=DEADLINE) as answer:
            assert answer.read() == b"ok\n"
        with urllib.request.urlopen(f"{url}/metrics", timeout=DEADLINE) as answer:
            found = values(answer.read().decode())
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
    assert found['bemi_read_error{database="default",part="worker"}'] == 0
    assert found['bemi_worker_running{database="default"}'] == 1
    # It may count the changes of the log, and not ask for its gaps.
    assert found['bemi_read_error{database="default",part="log"}'] == 0
    assert (
        'bemi_log_changes{database="default"}' in found and 'bemi_log_gaps{database="default"}' not in found
    )


@pytest.mark.parametrize("address", ["x", "99999", "host:", "-1", "127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(CommandError, match="neither a port nor host:port"):
        call_command("bemi", "run", f"--metrics={address}")
    with pytest.raises(CommandError, match="not the name of a host"):
        call_command("bemi", "run", f"--metrics={'a' * 64}:0")


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_command, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"install bemi-django-wal\[metrics\]"):
        call_command("bemi", "run", "--metrics", "0", stdout=io.StringIO())


def test_the_view_needs_the_token_or_the_permission(
    pipeline: Pipeline, client: Client, settings: Any
) -> None:
    refused = client.get("/bemi/metrics")
    assert refused.status_code == 401 and refused["WWW-Authenticate"] == "Bearer"
    # An empty token is none.
    assert client.get("/bemi/metrics", headers={"Authorization": "Bearer "}).status_code == 401
    settings.BEMI_METRICS_TOKEN = "secret"
    for wrong in ("Bearer", "Bearer ", "Bearer Secret", "Basic secret", "secret", "Bearer sécret"):
        assert client.get("/bemi/metrics", headers={"Authorization": wrong}).status_code == 401, wrong
    answer = client.get("/bemi/metrics", headers={"Authorization": "Bearer secret"})
    assert answer.status_code == 200 and b"bemi_lag_bytes" in answer.content
    assert "no-store" in answer["Cache-Control"]
    user = User.objects.create(username="u")
    client.force_login(user)
    assert client.get("/bemi/metrics").status_code == 401
    create_permissions(apps.get_app_config("bemi_django"), verbosity=0)
    user.user_permissions.add(Permission.objects.get(codename="view_change"))
    assert client.get("/bemi/metrics").status_code == 200
    assert client.post("/bemi/metrics").status_code == 405


def test_the_probes_of_the_site_tell_nothing_but_the_state(pipeline: Pipeline, client: Client) -> None:
    assert client.get("/bemi/healthz").content == b"ok\n"
    answer = client.get("/bemi/readyz")
    assert answer.status_code == 503 and b"slot" not in answer.content


def test_opentelemetry_reads_the_same(pipeline: Pipeline) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the SDK of OpenTelemetry is optional")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from bemi_django.metrics.instruments import observe

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe(Answers(["default"]), provider.get_meter("bemi_django"))
    read = reader.get_metrics_data()
    assert read is not None
    found = {
        metric["name"]: metric["data"]["data_points"]
        for resource in json.loads(read.to_json())["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    provider.shutdown()
    assert found["bemi.worker_running"][0]["attributes"] == {"database": "default"}
    assert {"bemi.lag_bytes", "bemi.log_gaps", "bemi.tables"} <= found.keys()
