"""Whether standbys are ready to take over the slot."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.doctor.finding import Finding
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor

_SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name IN (
    'hot_standby_feedback', 'primary_conninfo', 'primary_slot_name', 'sync_replication_slots',
    'synchronized_standby_slots')
"""
_STANDBYS = """
SELECT current_setting('server_version_num')::int >= 170000, (
    SELECT count(*) FROM pg_stat_replication r
    WHERE NOT EXISTS (SELECT FROM pg_replication_slots s
                      WHERE s.active_pid = r.pid AND s.slot_type = 'logical'))
"""
_HAS_SLOT = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
_IDENTITY = "SELECT pg_is_in_recovery(), system_identifier FROM pg_control_system()"
_RELOAD = "then SELECT pg_reload_conf(). See docs/failover.md."


def findings(source: str) -> Iterator[Finding]:
    """Yield settings that standbys or their primary lack for a synchronised slot, or that none can be had.

    What a standby has is read if it is in ``DATABASES``.

    Args:
        source: Alias of the source.
    """
    with closed_cursor(source) as cursor:
        cursor.execute(_STANDBYS)
        is_possible, standbys = cursor.fetchone()
        cursor.execute(_SETTINGS)
        settings = dict(cursor.fetchall())
        cursor.execute(_IDENTITY)
        is_standby, system = cursor.fetchone()
    if not conf.slot_failover() or is_standby or not standbys:
        return
    if not is_possible:
        yield from _without_synchronisation(source, system)
        return
    if not settings.get("synchronized_standby_slots"):
        yield Finding(
            "bemi.D014",
            f"The log may be ahead of the standbys of {source!r}: synchronized_standby_slots is empty.",
            "On the primary, run ALTER SYSTEM SET synchronized_standby_slots = '<slot of the standby>', "
            + _RELOAD,
        )
    for alias in _standbys_in_settings(source, system):
        with closed_cursor(alias) as cursor:
            cursor.execute(_SETTINGS)
            lacking = list(_lacking(dict(cursor.fetchall())))
        if lacking:
            yield Finding(
                "bemi.D014",
                f"The standby {alias!r} does not synchronise the slot: it lacks {', '.join(lacking)}.",
                f"On the standby, run ALTER SYSTEM SET for each, {_RELOAD}",
            )


def _without_synchronisation(source: str, system: int) -> Iterator[Finding]:
    """Before PostgreSQL 17: something else has to keep the slot on standbys."""
    slot = slot_of(source)
    has_slot = []
    for alias in _standbys_in_settings(source, system):
        with closed_cursor(alias) as cursor:
            cursor.execute(_HAS_SLOT, [slot])
            has_slot.append(cursor.fetchone() == (1,))
    if not has_slot or not all(has_slot):
        yield Finding(
            "bemi.D014",
            f"A standby of {source!r} that is promoted may not have the slot {slot}: before PostgreSQL 17, "
            "the server does not synchronise it, and changes are lost.",
            "Let a cluster manager keep it there, as a permanent slot of Patroni. See docs/failover.md.",
        )


def _standbys_in_settings(source: str, system: int) -> Iterator[str]:
    for alias in connections:
        if alias == source or connections[alias].vendor != "postgresql":
            continue
        try:
            with closed_cursor(alias) as cursor:
                cursor.execute(_IDENTITY)
                if cursor.fetchone() == (True, system):
                    yield alias
        except DatabaseError:
            # A server that cannot be reached is another matter.
            continue


def _lacking(settings: dict[str, str]) -> Iterator[str]:
    for name in ("sync_replication_slots", "hot_standby_feedback"):
        if settings.get(name) != "on":
            yield f"{name} = on"
    if not settings.get("primary_slot_name"):
        yield "primary_slot_name"
    # Only roles that may read all settings see it.
    if "primary_conninfo" in settings and "dbname" not in settings["primary_conninfo"]:
        yield "dbname in primary_conninfo"
