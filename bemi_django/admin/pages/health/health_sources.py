"""Facts about the databases whose changes are recorded: the worker, its lag and the retained WAL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.utils import timezone
from django.utils.translation import gettext as _

from bemi_django import conf
from bemi_django.admin.display import svg_charts
from bemi_django.admin.pages.health.throughput import LastHour
from bemi_django.models import Change
from bemi_django.schema.database_names import assumed_name
from bemi_django.wire.ids import source_of

#: Whether the slot is in use, and the bytes of WAL that are unwritten and that are retained for it.
_SLOT = """
SELECT active, wal_status,
       greatest(pg_current_wal_lsn() - confirmed_flush_lsn, 0)::bigint,
       greatest(pg_current_wal_lsn() - restart_lsn, 0)::bigint,
       safe_wal_size
FROM pg_replication_slots WHERE slot_name = %s
"""
_CHECKPOINT = """
SELECT committed_at, updated_at, system_identifier, trouble, counters FROM _bemi.checkpoint WHERE slot = %s
"""


class HealthFact(NamedTuple):
    """A measured value.

    Attributes:
        label: What is measured.
        value: The value.
        state: ``good``, ``warning`` or ``bad``.
        hint: What a bad value means.
        command: The command that fixes it.
    """

    label: str
    value: str
    state: str = "good"
    hint: str = ""
    command: str = ""


def source_facts(alias: str, hour: LastHour | None) -> tuple[list[HealthFact], svg_charts.Chart | None]:
    """Return the facts of a source, and a chart of the bytes that the log was behind in the last hour."""
    option = "" if alias == "default" else f" --database {alias}"
    run = f"python manage.py bemi run{option}"
    with connections[alias].cursor() as cursor:
        cursor.execute(_SLOT, [conf.slot(alias)])
        slot = cursor.fetchone()
    if slot is None:
        hint = _("There is no replication slot. Nothing is recorded until the worker has run once.")
        return [HealthFact(_("Worker"), _("has never run"), "bad", hint, run)], None
    active, wal_status, behind, held, safe = slot
    checkpoint = _checkpoint(alias)
    facts = [
        HealthFact(_("Worker"), _("running"))
        if active
        else HealthFact(
            _("Worker"), _("not running"), "bad", _("Changes are waiting in the WAL. Start the worker:"), run
        )
    ]
    if checkpoint is not None and checkpoint[3]:
        facts.append(HealthFact(_("Stream"), _("stuck"), "bad", checkpoint[3]))
    seconds = _behind_seconds(checkpoint, behind, is_running=active)
    lag = f"{as_bytes(behind)}, {seconds:.1f} s"
    # While the worker is not running, the lag only grows.
    facts.append(HealthFact(_("Lag"), lag, _grade(seconds, 30, 300) if active or not behind else "bad"))
    facts.append(_held(wal_status, held, safe, run))
    if checkpoint is not None:
        facts.append(HealthFact(_("Last change"), _("%s ago") % _ago(checkpoint[0])))
        facts += _counters(checkpoint[4])
    if checkpoint is None or hour is None:
        return facts, None
    source = source_of(checkpoint[2], assumed_name(alias))
    return facts, svg_charts.line(hour.labels, hour.behind(source, behind), "B")


def _counters(stored: str) -> Iterator[HealthFact]:
    """Yield what the worker has counted since it was started, in the words of its progress line."""
    counted = sorted(json.loads(stored).items())
    if counted:
        number = sum(count for _what, count in counted)
        words = ", ".join(f"{count} {what}" for what, count in counted)
        yield HealthFact(_("Exceptions since the worker started"), str(number), "good", words)


def _held(wal_status: str, held: int, safe: int | None, run: str) -> HealthFact:
    room = _("%s more until the server removes it") % as_bytes(safe) if safe is not None else ""
    if wal_status == "lost":
        hint = _(
            "The server removed WAL that was not read, so changes are lost. Record the gap and continue:"
        )
        return HealthFact(_("Retained WAL"), _("lost"), "bad", hint, f"{run} --accept-gap")
    if wal_status == "unreserved":
        return HealthFact(
            _("Retained WAL"),
            as_bytes(held),
            "bad",
            _("The server will remove this WAL soon. Start the worker now:"),
            run,
        )
    return HealthFact(_("Retained WAL"), as_bytes(held), _grade(held, 2**30, 10 * 2**30), room)


def _checkpoint(alias: str) -> Any:
    with connections[conf.destination()].cursor() as cursor:
        cursor.execute(_CHECKPOINT, [conf.slot(alias)])
        return cursor.fetchone()


def _behind_seconds(checkpoint: Any, behind: int, *, is_running: bool) -> float:
    """Return how long (s) the log may have lacked something; for a running worker, its last lag."""
    if checkpoint is None or is_running or not behind:
        return _latest_lag() if is_running and behind else 0.0
    return float(max((timezone.now() - checkpoint[1]).total_seconds(), 0.0))


def _latest_lag() -> float:
    newest = Change.objects.order_by("-id").only("committed_at", "created_at").first()
    if newest is None or newest.committed_at < timezone.now() - timedelta(minutes=5):
        return 0.0
    return max((newest.created_at - newest.committed_at).total_seconds(), 0.0)


def as_bytes(count: int) -> str:
    """Return a number of bytes with a unit."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def _ago(moment: Any) -> str:
    seconds = max(int((timezone.now() - moment).total_seconds()), 0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _grade(value: float, warning: float, bad: float) -> str:
    return "bad" if value >= bad else "warning" if value >= warning else "good"
