"""A physical standby of a cluster, with everything set that a failover without a gap needs."""

from __future__ import annotations

import os
import shutil

from sample_project.postgres_programs import account, find_bin_dir, run, usable_programs
from tests.support.cluster import Cluster
from tests.support.polling import until

#: The physical slot of the standby, on whichever server is the primary.
PHYSICAL_SLOT = "standby"


class Standby(Cluster):
    """Follows *primary*; ``port`` is where it connects, if that is not the primary's own port."""

    def __init__(self, primary: Cluster, port: int | None = None, **settings: str) -> None:
        self._primary = primary
        address = {**primary.parameters, "port": port or primary.parameters["port"]}
        # A stream that stands still is not replaced by another one.
        address["options"] = "'-c wal_sender_timeout=0'"
        conninfo = " ".join(f"{name}={value}" for name, value in address.items())
        super().__init__(
            hot_standby_feedback="on",
            primary_conninfo=conninfo,
            primary_slot_name=PHYSICAL_SLOT,
            sync_replication_slots="on",
            wal_receiver_status_interval="1s",
            wal_receiver_timeout="0",
            **settings,
        )

    def start(self) -> None:
        if not (self.directory / "data").exists():
            self._copy()
        super().start()

    def promote(self) -> None:
        """End recovery: the server becomes a primary, on a new timeline."""
        assert self.one("SELECT pg_promote()")

    def has_synchronised(self, slot: str) -> bool:
        """Tell whether a promotion now would keep the logical slot."""
        query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced AND NOT temporary"
        return bool(self.one(query, [slot]))

    def _copy(self) -> None:
        user = account()
        data, secret = self.directory / "data", self.directory / "password"
        shutil.copy(self._primary.directory / "password", secret)
        data.mkdir(mode=0o700)
        if user:
            for path in (data, secret):
                os.chown(path, user["user"], user["group"])
        programs = usable_programs(find_bin_dir(), self.directory, user)
        address = " ".join(f"{name}={value}" for name, value in self._primary.parameters.items())
        command = [str(programs / "pg_basebackup"), "-D", str(data), "-d", address, "-c", "fast", "--no-sync"]
        done = run(command, user)
        assert done.returncode == 0, done.stderr
        (data / "standby.signal").touch()


def follow(primary: Cluster, port: int | None = None, *, is_waited_for: bool = True) -> Standby:
    """Give *primary* a standby.

    Logical slots of the primary wait for it (``synchronized_standby_slots``) if it is waited for.
    """
    primary.run(
        "SELECT pg_create_physical_replication_slot(%s, true) WHERE NOT EXISTS "
        "(SELECT FROM pg_replication_slots WHERE slot_name = %s)",
        [PHYSICAL_SLOT, PHYSICAL_SLOT],
    )
    standby = Standby(primary, port)
    connected = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active"
    until(lambda: primary.one(connected, [PHYSICAL_SLOT]) == 1)
    waited_for = PHYSICAL_SLOT if is_waited_for else ""
    primary.run(f"ALTER SYSTEM SET synchronized_standby_slots = '{waited_for}'")
    primary.run("SELECT pg_reload_conf()")
    return standby
