"""Facts about the databases whose changes are recorded: the worker, its lag and the retained WAL."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bemi_django.admin.display import svg_charts
from bemi_django.admin.display.site_time import ago
from bemi_django.admin.display.values.moments import moment_text
from bemi_django.admin.display.values.text_lists import comma_list
from bemi_django.admin.pages.health.amounts import bytes_text, count_text, seconds_text
from bemi_django.admin.pages.health.throughput import LastHour
from bemi_django.schema.database_names import about, assumed_name, database_option
from bemi_django.status.baselines import UnfinishedBaseline, read_baselines
from bemi_django.status.sealing import read_sealings
from bemi_django.status.worker_status import (
    LATE,
    NEVER_RUN,
    ON_STANDBY,
    RUNNING,
    SLOT_GONE,
    TOO_LATE,
    read_worker,
)
from bemi_django.wire.ids import source_of

#: What a worker counts beside changes. It also counts the rows that take it longer, but nothing is wrong.
EXCEPTIONS = {
    "conditions that failed: the changes were recorded": gettext_lazy(
        "conditions that failed (the changes were recorded)"
    ),
    "dead letters": gettext_lazy("dead letters"),
    "failures for lack of resources": gettext_lazy("failures for lack of resources"),
    "records left out, because they had been taken before": gettext_lazy(
        "records that had been taken before"
    ),
    "servers that did not answer": gettext_lazy("servers that did not answer"),
    "sessions that failed": gettext_lazy("sessions that failed"),
    "values dropped because their mask failed": gettext_lazy("values dropped because their mask failed"),
}
_NOTHING_WRONG = "rows the long way"


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
    run = f"python manage.py bemi run{database_option(alias)}"
    worker = read_worker(alias)
    if worker.state == ON_STANDBY:
        return [HealthFact(_("Worker"), _("The changes of a standby are recorded from its primary."))], None
    if worker.state == NEVER_RUN:
        hint = _("Recording has not begun: it begins when the worker first runs. Start it:")
        return [HealthFact(_("Worker"), _("has never run"), "bad", hint, run)], None
    if worker.state == SLOT_GONE:
        hint = _("Changes are lost. Record the gap and continue:")
        return [
            HealthFact(_("Worker"), _("its replication slot is gone"), "bad", hint, f"{run} --accept-gap")
        ], None
    is_running, log_end = worker.state == RUNNING, worker.log_end
    facts = [
        HealthFact(_("Worker"), _("running"))
        if is_running
        else HealthFact(
            _("Worker"), _("not running"), "bad", _("Changes are waiting in the WAL. Start the worker:"), run
        )
    ]
    if log_end is not None and log_end.trouble:
        facts.append(HealthFact(_("Stream"), _("stuck"), "bad", about(alias, log_end.trouble)))
    lag = bytes_text(worker.lag_bytes)
    if not math.isnan(worker.lag_seconds):
        lag = comma_list((lag, seconds_text(round(worker.lag_seconds, 1))))
    # While the worker is not running, the lag only grows.
    state = _grade(worker.lag_seconds, LATE, TOO_LATE) if is_running or not worker.lag_bytes else "bad"
    hint = _("The time is not known, because this role may not read the log.")
    if is_running and math.isnan(worker.lag_seconds):
        facts.append(HealthFact(_("Lag"), lag, "warning", hint))
    else:
        facts.append(HealthFact(_("Lag"), lag, state))
    facts.append(_held(worker.wal_status, worker.retained_bytes, worker.room_bytes, run))
    if log_end is not None:
        last = timezone.now() - timedelta(seconds=log_end.change_age)
        facts.append(HealthFact(_("Last change"), ago(last), hint=moment_text(last)))
        facts += _counters(log_end.counters)
    facts += _sealing(worker.slot)
    if log_end is None or hour is None:
        return facts, None
    source = source_of(log_end.system_identifier, assumed_name(alias))
    return facts, svg_charts.line(hour.labels, hour.behind(source, worker.lag_bytes), bytes_text)


def baseline_facts(alias: str) -> Iterator[HealthFact]:
    """Yield how far baselines have come that have not ended."""
    for one in read_baselines(alias):
        label = _("Baseline of %s") % one.table
        if one.is_running:
            yield HealthFact(label, _progress(one))
        else:
            hint = _("It was interrupted. The same command continues it:")
            to = " --to nats://HOST:PORT/STREAM" if one.is_for_queue else ""
            command = f"python manage.py bemi baseline{database_option(alias)} {one.table}{to}"
            yield HealthFact(label, _progress(one), "warning", hint, "" if one.condition else command)


def _progress(one: UnfinishedBaseline) -> str:
    done = [] if one.percent is None else [_("%(number)s%% of the table") % {"number": one.percent}]
    done.append(_("rows read: %(number)s") % {"number": count_text(one.rows)})
    if not one.is_for_queue:
        # Each log of a queue leaves out what it knows.
        done.append(_("recorded: %(number)s") % {"number": count_text(one.recorded)})
    return comma_list(done)


def _counters(counters: Mapping[str, int]) -> Iterator[HealthFact]:
    """Yield what has gone wrong since the worker was started, though it went on."""
    counted = [item for item in sorted(counters.items()) if not item[0].startswith(_NOTHING_WRONG)]
    if counted:
        number = sum(count for _what, count in counted)
        words = comma_list(f"{EXCEPTIONS.get(what, what)}: {count_text(count)}" for what, count in counted)
        yield HealthFact(_("Exceptions since the worker started"), count_text(number), "good", words)


def _sealing(slot: str) -> Iterator[HealthFact]:
    """Yield until when the log is sealed, if it ever was."""
    for sealing in read_sealings():
        if sealing.slot == slot:
            hint = "" if sealing.is_open else _("Changes that came later are not sealed.")
            yield HealthFact(_("Sealed until"), moment_text(sealing.until), "good", hint)


def _held(wal_status: str, held: int, safe: int | None, run: str) -> HealthFact:
    room = _("%s more until the server removes it") % bytes_text(safe) if safe is not None else ""
    if wal_status == "lost":
        hint = _(
            "The server removed WAL that was not read, so changes are lost. Record the gap and continue:"
        )
        return HealthFact(_("Retained WAL"), _("lost"), "bad", hint, f"{run} --accept-gap")
    if wal_status == "unreserved":
        return HealthFact(
            _("Retained WAL"),
            bytes_text(held),
            "bad",
            _("The server will remove this WAL soon. Start the worker now:"),
            run,
        )
    return HealthFact(_("Retained WAL"), bytes_text(held), _grade(held, 2**30, 10 * 2**30), room)


def _grade(value: float, warning: float, bad: float) -> str:
    return "bad" if value >= bad else "warning" if value >= warning else "good"
