"""The server of a source: its settings and its slots."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django.doctor.finding import Finding
from bemi_django.schema.removal.remains import slots_of
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor
from bemi_django.status.worker_status import RUNNING, read_worker

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)"
_NAMES = [
    "max_replication_slots", "max_wal_senders", "max_slot_wal_keep_size", "idle_replication_slot_timeout",
]  # fmt: skip
_USED = """
SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_stat_replication),
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)
"""
# By their name: the log of another installation may know them.
_SLOTS = """
SELECT s.slot_name::text FROM pg_replication_slots s
WHERE s.database = current_database() AND s.plugin = 'pgoutput' AND NOT s.active AND s.slot_name <> %s
    AND (starts_with(s.slot_name::text, 'bemi') OR s.slot_name = ANY (%s::name[]))
ORDER BY 1
"""


def is_standby(source: str) -> Finding:
    """Return the finding that the server of a source is a standby, about which nothing else can be said."""
    return Finding(
        "bemi.D001",
        f"The server of {source!r} is a standby: changes are recorded from its primary.",
        "Run this and the worker with the settings of the primary.",
        stops=True,
    )


def findings(source: str) -> Iterator[Finding]:
    """Yield what is wrong with the server of a source."""
    slot = slot_of(source)
    with closed_cursor(source) as cursor:
        cursor.execute(_SETTINGS, [_NAMES])
        settings = {name: int(value) for name, value in cursor.fetchall()}
        cursor.execute(_USED, [slot])
        slots, senders, has_slot = cursor.fetchone()
        cursor.execute(_SLOTS, [slot, [found.name for found in slots_of(source)]])
        others = [name for (name,) in cursor.fetchall()]
    yield from _capacity(settings, slots, senders, has_slot, read_worker(source).state == RUNNING)
    if settings["max_slot_wal_keep_size"] < 0:
        yield Finding(
            "bemi.D006",
            "While no worker runs, the server keeps all WAL for the slot, until the disk is full.",
            "Run ALTER SYSTEM SET max_slot_wal_keep_size = '50GB', or what the disk has room for, then "
            "SELECT pg_reload_conf(). If it is exceeded, changes are lost, which is recorded as a gap.",
        )
    if settings.get("idle_replication_slot_timeout"):
        yield Finding(
            "bemi.D007",
            "The server gives up slots that nobody reads (idle_replication_slot_timeout): if the worker is "
            "stopped for that long, changes are lost.",
            "Run ALTER SYSTEM SET idle_replication_slot_timeout = 0, then SELECT pg_reload_conf().",
        )
    for name in others:
        yield Finding(
            "bemi.D008",
            f"Nobody reads the slot {name}, and the server keeps all WAL for it. The worker of {source!r} "
            f"reads {slot}.",
            f"Unless it belongs to another installation, run SELECT pg_drop_replication_slot('{name}').",
        )


def _capacity(
    settings: dict[str, int], slots: int, senders: int, has_slot: bool, is_running: bool
) -> Iterator[Finding]:
    if not has_slot and slots >= (limit := settings["max_replication_slots"]):
        yield Finding(
            "bemi.D002",
            f"All {limit} replication slots of the server are in use.",
            "Drop one that nobody reads, or run ALTER SYSTEM SET max_replication_slots = '20' and restart.",
            stops=True,
        )
    if not is_running and senders >= (limit := settings["max_wal_senders"]):
        yield Finding(
            "bemi.D003",
            f"All {limit} WAL senders of the server are in use.",
            "Run ALTER SYSTEM SET max_wal_senders with a greater number, then restart the server.",
            stops=True,
        )
