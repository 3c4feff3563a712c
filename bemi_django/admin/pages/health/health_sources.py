"""Facts about the databases whose changes are recorded: the worker, its lag and the retained WAL."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from django.utils.translation import gettext as _

from bemi_django.admin.display import svg_charts
from bemi_django.admin.display.site_time import local
from bemi_django.admin.pages.health.throughput import LastHour
from bemi_django.schema.database_names import assumed_name
from bemi_django.status.baselines import read_baselines
from bemi_django.status.sealing import read_sealings
from bemi_django.status.units import as_bytes
from bemi_django.status.worker_status import LATE, NEVER_RUN, RUNNING, TOO_LATE, read_worker
from bemi_django.wire.ids import source_of


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
    worker = read_worker(alias)
    if worker.state == NEVER_RUN:
        hint = _("Recording has not begun: it begins when the worker first runs. Start it:")
        return [HealthFact(_("Worker"), _("has never run"), "bad", hint, run)], None
    is_running, log_end = worker.state == RUNNING, worker.log_end
    facts = [
        HealthFact(_("Worker"), _("running"))
        if is_running
        else HealthFact(
            _("Worker"), _("not running"), "bad", _("Changes are waiting in the WAL. Start the worker:"), run
        )
    ]
    if log_end is not None and log_end.trouble:
        facts.append(HealthFact(_("Stream"), _("stuck"), "bad", log_end.trouble))
    lag = as_bytes(worker.lag_bytes)
    if not math.isnan(worker.lag_seconds):
        lag = f"{lag}, {worker.lag_seconds:.1f} s"
    # While the worker is not running, the lag only grows.
    state = _grade(worker.lag_seconds, LATE, TOO_LATE) if is_running or not worker.lag_bytes else "bad"
    hint = _("The time is not known, because this role may not read the log.")
    if is_running and math.isnan(worker.lag_seconds):
        facts.append(HealthFact(_("Lag"), lag, "warning", hint))
    else:
        facts.append(HealthFact(_("Lag"), lag, state))
    facts.append(_held(worker.wal_status, worker.retained_bytes, worker.room_bytes, run))
    if log_end is not None:
        facts.append(HealthFact(_("Last change"), _("%s ago") % _duration(log_end.change_age)))
        facts += _counters(log_end.counters)
    facts += _sealing(worker.slot)
    if log_end is None or hour is None:
        return facts, None
    source = source_of(log_end.system_identifier, assumed_name(alias))
    return facts, svg_charts.line(hour.labels, hour.behind(source, worker.lag_bytes), "B")


def baseline_facts(alias: str) -> Iterator[HealthFact]:
    """Yield how far baselines have come that have not ended."""
    for one in read_baselines(alias):
        label = _("Baseline of %s") % one.table
        if one.is_running:
            yield HealthFact(label, one.progress)
        else:
            option = "" if alias == "default" else f" --database {alias}"
            hint = _("It was interrupted. The same command continues it:")
            command = f"python manage.py bemi baseline{option} {one.table}"
            yield HealthFact(label, one.progress, "warning", hint, "" if one.condition else command)


def _counters(counters: Mapping[str, int]) -> Iterator[HealthFact]:
    """Yield what the worker has counted since it was started, in the words of its progress line."""
    counted = sorted(counters.items())
    if counted:
        number = sum(count for _what, count in counted)
        words = ", ".join(f"{count} {what}" for what, count in counted)
        yield HealthFact(_("Exceptions since the worker started"), str(number), "good", words)


def _sealing(slot: str) -> Iterator[HealthFact]:
    """Yield until when the log is sealed, if it ever was."""
    for sealing in read_sealings():
        if sealing.slot == slot:
            hint = "" if sealing.is_open else _("Changes that came later are not sealed.")
            yield HealthFact(_("Sealed until"), f"{local(sealing.until):%Y-%m-%d %H:%M:%S}", "good", hint)


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


def _duration(age: float) -> str:
    seconds = int(age)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _grade(value: float, warning: float, bad: float) -> str:
    return "bad" if value >= bad else "warning" if value >= warning else "good"
