"""A PostgreSQL server with ``wal_level=logical``: the one of the environment, or one of our own."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg2

from sample_project import scram
from sample_project.postgres_process import HOST, SUPERUSER, Site, cause, require_free, start, stop
from sample_project.postgres_programs import (
    OLDEST,
    ServerError,
    account,
    find_bin_dir,
    run,
    usable_programs,
)

ADDRESSES = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGSERVICE")
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
    data_dir: Path | None = None,
    port: int | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    temporary_in: Path | None = None,
) -> Iterator[Server]:
    """Yield the server that ``DATABASE_URL`` or ``PG*`` names, or one of our own that is stopped on exit.

    Without *data_dir* its data is temporary, in a folder in *temporary_in*; *settings* are added to its
    configuration.

        with postgres_server() as server:
            psycopg2.connect(server.url)
    """
    if named := next(filter(os.environ.get, ADDRESSES), None):
        yield _external_server(named)
        return
    if port:
        require_free(port)
    bin_dir = find_bin_dir()
    with _site(data_dir, temporary_in) as site:
        programs = usable_programs(bin_dir, site.base, site.account)
        password = _initialised(programs, site)
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
        command = [str(programs / "postgres"), "-D", str(site.base / "data"), *options]
        keeper, actual_port = start(command, site, port, password)
        try:
            yield Server(HOST, actual_port, SUPERUSER, password, SUPERUSER, bin_dir, True)
        finally:
            stop(keeper)


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


@contextmanager
def _site(data_dir: Path | None, temporary_in: Path | None) -> Iterator[Site]:
    user = account()
    if data_dir is not None:
        base = data_dir.absolute()
        if not base.exists():
            base.mkdir(parents=True)
            base.chmod(0o711)
        if user and run(["test", "-x", str(base)], user).returncode:
            name = pwd.getpwuid(user["user"]).pw_name
            raise ServerError(f"user {name} cannot enter {base}; choose a data directory under /var/tmp")
        yield Site(base, user, temporary=False)
        return
    # Root's own TMPDIR may be closed to the other user.
    parent = temporary_in or ("/tmp" if user else None)
    base = Path(tempfile.mkdtemp(prefix="bemi-postgres-", dir=parent))
    try:
        base.chmod(0o711)
        yield Site(base, user, temporary=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _initialised(programs: Path, site: Site) -> str:
    """Create the data directory unless it exists; return the password of the superuser."""
    data, secret, stored = (site.base / name for name in ("data", "password", "verifier"))
    if (data / "PG_VERSION").exists():
        return secret.read_text()
    # Tests of others put it into patterns, in which capital letters stand for something else.
    password = secrets.token_hex(24)
    for path, text in ((secret, password), (stored, scram.verifier(password))):
        path.touch(mode=0o600)
        path.write_text(text)
    data.mkdir(mode=0o700, exist_ok=True)
    if site.account:
        for path in (data, secret, stored):
            os.chown(path, site.account["user"], site.account["group"])
    command = [str(programs / "initdb"), "-D", str(data), "-U", SUPERUSER, f"--pwfile={stored}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = run(command, site.account)
    stored.unlink()
    if done.returncode:
        raise ServerError(
            f"initdb failed: {cause(done.stderr)}; correct that or choose other binaries with PG_BIN"
        )
    return secret.read_text()
