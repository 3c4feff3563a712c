"""A server and the Patroni that manages it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
import yaml

from sample_project.postgres_process import free_port
from sample_project.postgres_programs import account, environment, find_bin_dir, run, usable_programs
from sample_project.postgres_server import Server
from tests.support.cluster import Cluster
from tests.support.polling import DEADLINE, until
from tests.support.roles import PASSWORD

SCOPE = "bemi"
_IS_PRIMARY = "SELECT NOT pg_is_in_recovery()"
_HAS_SLOT = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
# The file of the WAL, without its timeline: the function for that is not for standbys.
_NEEDED = """
SELECT slot_name, lpad(upper(to_hex((restart_lsn - '0/0')::bigint >> 32)), 8, '0')
       || lpad(upper(to_hex(((restart_lsn - '0/0')::bigint & 4294967295) >> 24)), 8, '0')
FROM pg_replication_slots WHERE slot_type = 'logical'
"""
_HAS_REPLAYED = "SELECT count(*) FROM pg_stat_replication WHERE application_name = %s AND replay_lsn >= %s"


def programs() -> Path:
    """Return Patroni's program, which ``BEMI_PATRONI`` or the path names; skip the test if one is missing."""
    patroni = shutil.which(os.environ.get("BEMI_PATRONI", "patroni"))
    if patroni is None:
        pytest.skip("Patroni is not installed (pip install patroni[etcd3], or Debian's patroni)")
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed (Debian: etcd-server)")
    if run(["/bin/sh", "-c", f"exec {patroni} --version"], account()).returncode:
        pytest.skip(f"the user that runs PostgreSQL may not run {patroni}")
    return Path(patroni)


class Place(NamedTuple):
    """What the servers of a cluster share: program, address of etcd, permanent slots."""

    program: Path
    store: str
    slots: dict[str, dict[str, str]]


class Node(Cluster):
    """A server and the Patroni that manages it; it keeps its ports."""

    def __init__(self, place: Place, name: str) -> None:
        self.name, self._place = name, place
        self._addresses = {"rest": f"127.0.0.1:{free_port()}", "server": f"127.0.0.1:{free_port()}"}
        self._patroni: subprocess.Popen[bytes] | None = None
        super().__init__()

    def start(self) -> None:
        if self._patroni is None:
            self._server = Server(
                "127.0.0.1", int(self._addresses["server"].split(":")[1]), "postgres", PASSWORD, "postgres"
            )
            user = account()
            for path in (self.directory / "data", self.directory / "run"):
                path.mkdir(mode=0o700)
                if user:
                    os.chown(path, user["user"], user["group"])
            self.configuration.write_text(yaml.safe_dump(self._settings_of_patroni()))
        with (self.directory / "patroni.log").open("ab") as log:
            self._patroni = subprocess.Popen(
                [self._place.program, self.configuration],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=environment(),
                **account(),
            )

    @property
    def configuration(self) -> Path:
        return self.directory / "patroni.yaml"

    def stop(self, is_crash: bool = False) -> None:
        """Stop Patroni, which stops the server; kill both if it is a crash."""
        assert self._patroni is not None
        self._patroni.send_signal(signal.SIGKILL if is_crash else signal.SIGTERM)
        if is_crash:
            with suppress(ProcessLookupError, FileNotFoundError):
                self._signal(signal.SIGQUIT)
        self._patroni.wait(DEADLINE)
        until(lambda: not self._answers(), why=self.said)

    def restart_manager(self) -> None:
        """Start Patroni again, as its upgrade does; the server goes on."""
        assert self._patroni is not None
        self._patroni.kill()
        self._patroni.wait(DEADLINE)
        self.start()

    def said(self) -> str:
        return (self.directory / "patroni.log").read_text()[-3000:]

    def is_primary(self) -> bool:
        with suppress(psycopg2.Error):
            return bool(self.one(_IS_PRIMARY))
        return False

    def may_be_promoted(self, slots: Iterable[str]) -> bool:
        """Return whether the logical slots can be used here, as Patroni says, with the WAL that they need."""
        _, copied, since = (self.directory / "patroni.log").read_text().rpartition("Copying logical slots")
        if copied and "is safe to be used after a failover" not in since:
            return False
        with suppress(psycopg2.Error):
            found = dict(self.run(_NEEDED))
            files = {path.name[8:] for path in self._pid_file.with_name("pg_wal").iterdir()}
            return all(found.get(slot) in files for slot in slots)
        return False

    def has_slot(self, slot: str) -> bool:
        with suppress(psycopg2.Error):
            return bool(self.one(_HAS_SLOT, [slot]))
        return False

    def is_followed_by(self, other: Node, position: str) -> bool:
        with suppress(psycopg2.Error):
            return bool(self.one(_HAS_REPLAYED, [other.name, position]))
        return False

    def _answers(self) -> bool:
        with suppress(psycopg2.Error), closing(psycopg2.connect(**self.parameters)):
            return True
        return False

    def _settings_of_patroni(self) -> dict[str, Any]:
        data = self.directory / "data"
        return {
            "scope": SCOPE,
            "name": self.name,
            "restapi": {"listen": self._addresses["rest"], "connect_address": self._addresses["rest"]},
            "etcd3": {"host": self._place.store},
            "bootstrap": {
                "dcs": {
                    # The shortest that Patroni accepts.
                    "ttl": 20,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "postgresql": {
                        "use_slots": True,
                        "parameters": {"wal_level": "logical", "hot_standby_feedback": True, "fsync": False},
                    },
                    "slots": self._place.slots,
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": self._addresses["server"],
                "connect_address": self._addresses["server"],
                "data_dir": str(data / "server"),
                "bin_dir": str(usable_programs(find_bin_dir(), self.directory, account())),
                "pgpass": str(self.directory / "run" / "pgpass"),
                "remove_data_directory_on_diverged_timelines": True,
                "pg_hba": [
                    "local all all trust",
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256",
                ],
                "authentication": {
                    "superuser": {"username": "postgres", "password": PASSWORD},
                    "replication": {"username": "standby", "password": PASSWORD},
                },
                "parameters": {
                    "unix_socket_directories": str(self.directory / "run"),
                    "password_encryption": "scram-sha-256",
                    "wal_receiver_status_interval": "1s",
                },
            },
        }

    @property
    def _pid_file(self) -> Path:
        return self.directory / "data" / "server" / "postmaster.pid"
