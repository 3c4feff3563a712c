"""A logical slot that a tool keeps on a standby, because PostgreSQL before 17 does not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct

from bemi_django.wire.lsn import parse_lsn
from sample_project.postgres_programs import account
from tests.support.cluster import Cluster
from tests.support.polling import until

_STATE = "SELECT pg_read_binary_file(%s)"
_IS_ON_DISK = "SELECT count(*) FROM pg_ls_dir(%s, true, false)"
_POSITIONS = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
_HAS_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
_END = "SELECT pg_current_wal_lsn()::text"
#: Where the file of a slot has its restart_lsn, in all versions: behind four numbers, its name and four more.
_RESTART_LSN = Struct("<16x64x16xQ").unpack_from
_SNAPSHOT = "SELECT pg_log_standby_snapshot()"


def copy_slot(primary: Cluster, standby: Cluster, slot: str) -> None:
    """Copy the slot's files to a standby while that is down, as Patroni does with permanent slots.

    As Patroni, wait until the slot needs no WAL that is older than the standby; something has to read it.
    """
    folder, end = f"pg_replslot/{slot}", primary.one(_END)

    def read_state() -> bytes:
        # Slots move on past such a record, which the server writes at checkpoints.
        primary.run("CHECKPOINT")
        state = bytes(primary.one(_STATE, [f"{folder}/state"])) if primary.one(_IS_ON_DISK, [folder]) else b""
        # The server says where the slot is before the file does.
        return state if state and _RESTART_LSN(state)[0] >= parse_lsn(end) else b""

    state = until(read_state)
    # The standby keeps what the slot needs (wal_keep_size), also where checkpoints have come since.
    primary.run("SELECT pg_switch_wal()")
    primary.run("CHECKPOINT")
    wait_until_replayed(primary, standby)
    standby.stop()
    copied, user = standby.directory / "data" / folder, account()
    copied.mkdir(mode=0o700)
    (copied / "state").write_bytes(state)
    for path in (copied, copied / "state"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if user:
            os.chown(path, user["user"], user["group"])
    standby.start()


def create_slot(primary: Cluster, standby: Cluster, slot: str) -> None:
    """Create the slot on a standby, as pg_failover_slots does; PostgreSQL 16 and later."""
    with _standby_snapshots(primary):
        standby.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])


def advance_slot(primary: Cluster, standby: Cluster, slot: str) -> str:
    """Move the standby's slot to where the primary's is, once the standby has that; return the position."""
    position = str(primary.one(_POSITIONS, [slot]))
    until(lambda: standby.one(_HAS_REPLAYED, [position]))
    standby.run("SELECT pg_replication_slot_advance(%s, %s)", [slot, position])
    return position


def wait_until_replayed(primary: Cluster, standby: Cluster) -> None:
    """Wait until the standby has what the primary has written."""
    end = primary.one("SELECT pg_current_wal_flush_lsn()::text")
    until(lambda: standby.one(_HAS_REPLAYED, [end]))


@contextmanager
def _standby_snapshots(primary: Cluster) -> Iterator[None]:
    """Have the primary write what a new slot of a standby waits for, which it does only at times."""
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.05):
            primary.run(_SNAPSHOT)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
