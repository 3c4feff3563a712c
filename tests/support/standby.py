"""Physical standbys, with everything set that a failover without a gap needs."""

from __future__ import annotations

import os
import shutil

from sample_project.postgres_programs import account, find_bin_dir, run, usable_programs
from tests.support.cluster import Cluster
from tests.support.polling import until

#: The physical slot of the standby, on whichever server is the primary.
PHYSICAL_SLOT = "standby"


class Standby(Cluster):
    """Follows *primary*; ``port`` is where it connects, if that is not the primary's own port.

    Before PostgreSQL 17 it cannot synchronise slots.
    """

    def __init__(self, primary: Cluster, port: int | None = None, *, is_synchronising: bool = True) -> None:
        self._primary = primary
        super().__init__(**_settings(primary, port, is_synchronising))

    def start(self) -> None:
        if not (self.directory / "data").exists():
            _copy(self._primary, self)
        super().start()


def follow(primary: Cluster, port: int | None = None, *, is_waited_for: bool = True) -> Standby:
    """Give *primary* a standby.

    Logical slots of the primary wait for it (``synchronized_standby_slots``) if it is waited for.
    """
    _make_slot(primary)
    standby = Standby(primary, port)
    _wait_for(primary, is_waited_for)
    return standby


def follow_by_itself(primary: Cluster) -> Standby:
    """Give *primary* a standby whose slots are not synchronised by PostgreSQL, of any version."""
    _make_slot(primary)
    standby = Standby(primary, is_synchronising=False)
    _wait_until_connected(primary)
    return standby


def rejoin(former: Cluster, primary: Cluster, *, is_copied: bool = True) -> None:
    """Let a server that was the primary, and is down, follow the one that is now.

    Without a new copy, what it has must be a part of what the primary has.
    """
    _make_slot(primary)
    former.configure(**_settings(primary))
    if is_copied:
        shutil.rmtree(former.directory / "data")
        _copy(primary, former)
    else:
        (former.directory / "data" / "standby.signal").touch()
    former.start()
    _wait_for(primary, True)


def wait_until_synchronised(primary: Cluster, standby: Cluster, slot: str) -> None:
    """Wait until the standby could take over the logical slot, which a worker reads."""

    def is_synchronised() -> bool:
        # The slot can be copied when it has passed such a record, which the server writes only at times.
        primary.run("SELECT pg_log_standby_snapshot()")
        return standby.has_synchronised(slot)

    until(is_synchronised)


def _settings(primary: Cluster, port: int | None = None, is_synchronising: bool = True) -> dict[str, str]:
    address = {**primary.parameters, "port": port or primary.parameters["port"]}
    # A stream that stands still is not replaced by another one.
    address["options"] = "'-c wal_sender_timeout=0'"
    return {
        "hot_standby_feedback": "on",
        "primary_conninfo": " ".join(f"{name}={value}" for name, value in address.items()),
        "primary_slot_name": PHYSICAL_SLOT,
        "wal_receiver_status_interval": "1s",
        "wal_receiver_timeout": "0",
        # What carries a slot to a standby relies on WAL that this keeps: Patroni's default.
        **({"sync_replication_slots": "on"} if is_synchronising else {"wal_keep_size": "128MB"}),
    }


def _make_slot(primary: Cluster) -> None:
    primary.run(
        "SELECT pg_create_physical_replication_slot(%s, true) WHERE NOT EXISTS "
        "(SELECT FROM pg_replication_slots WHERE slot_name = %s)",
        [PHYSICAL_SLOT, PHYSICAL_SLOT],
    )


def _wait_for(primary: Cluster, is_waited_for: bool) -> None:
    _wait_until_connected(primary)
    waited_for = PHYSICAL_SLOT if is_waited_for else ""
    primary.run(f"ALTER SYSTEM SET synchronized_standby_slots = '{waited_for}'")
    primary.run("SELECT pg_reload_conf()")


def _wait_until_connected(primary: Cluster) -> None:
    connected = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
    until(lambda: primary.one(connected, [PHYSICAL_SLOT]) == 1)


def _copy(primary: Cluster, standby: Cluster) -> None:
    user = account()
    data, secret = standby.directory / "data", standby.directory / "password"
    shutil.copy(primary.directory / "password", secret)
    data.mkdir(mode=0o700)
    if user:
        for path in (data, secret):
            os.chown(path, user["user"], user["group"])
    programs = usable_programs(find_bin_dir(), standby.directory, user)
    address = " ".join(f"{name}={value}" for name, value in primary.parameters.items())
    command = [str(programs / "pg_basebackup"), "-D", str(data), "-d", address, "-c", "fast", "--no-sync"]
    done = run(command, user)
    assert done.returncode == 0, done.stderr
    (data / "standby.signal").touch()
