"""The health page: the worker, retained WAL, tracked tables, gaps, dead letters, and how to fix each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.core.checks import CheckMessage
from django.db import DatabaseError, connections, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from bemi_django import checks, conf
from bemi_django.admin.display import svg_charts
from bemi_django.admin.display.value_diff import as_text
from bemi_django.admin.pages import throughput
from bemi_django.admin.pages.throughput import LastHour
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.paging import no_seqscan
from bemi_django.exceptions import NotInstalled
from bemi_django.models import Change, DeadLetter
from bemi_django.schema import tracking
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
_CHECKPOINT = "SELECT committed_at, updated_at, system_identifier FROM _bemi.checkpoint WHERE slot = %s"
_TABLES = """
SELECT n.nspname || '.' || c.relname,
       EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
               WHERE r.prrelid = c.oid AND p.pubname = %s),
       n.nspname || '.' || c.relname LIKE ANY (%s), n.nspname || '.' || c.relname LIKE ANY (%s)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid NOT IN (SELECT _bemi.ours_v1())
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
_LATEST = 10


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


class TableHealth(NamedTuple):
    """A table, whether it is tracked, why not, and the command that changes that."""

    name: str
    is_tracked: bool
    reason: str
    command: str


class SourceHealth(NamedTuple):
    """A database whose changes are recorded; ``bytes_chart`` shows how far the log was behind its WAL."""

    alias: str
    database: str
    facts: list[HealthFact]
    tables: list[TableHealth]
    bytes_chart: svg_charts.Chart | None


def template_context() -> dict[str, Any]:
    """Return the context of the template."""
    hour = throughput.read_last_hour()
    sources = [_source(alias, hour) for alias in connections if conf.is_source(alias)]
    problems = list(_checked())
    gaps = list(_gaps())
    letters = list(
        DeadLetter.objects.order_by("-id").values("id", "slot", "change_id", "reason", "created_at")[:_LATEST]
    )
    tracked = [table.is_tracked for source in sources for table in source.tables]
    facts = [fact for source in sources for fact in source.facts]
    return {
        "sources": sources,
        "lag_chart": hour and svg_charts.line(hour.labels, hour.seconds, "s"),
        "pace_chart": hour
        and svg_charts.stacked(hour.labels, [{"UPDATE": count} for count in hour.counts], ("UPDATE",)),
        "gaps": gaps,
        "letters": letters,
        "letters_command": "python manage.py bemi retry-dead-letters",
        "checks": problems,
        "tracked": sum(tracked),
        "untracked": len(tracked) - sum(tracked),
        "state": _worst([*(fact.state for fact in facts), "warning" if letters or problems else "good"]),
    }


def _source(alias: str, hour: LastHour | None) -> SourceHealth:
    name = assumed_name(alias)
    try:
        with transaction.atomic(using=alias):
            facts, chart = _facts(alias, hour)
            tables = list(_tables(alias))
    except DatabaseError as error:
        hint = str(error).strip().partition("\n")[0]
        return SourceHealth(
            alias, name, [HealthFact(_("Database"), _("not reachable"), "bad", hint)], [], None
        )
    return SourceHealth(alias, name, facts, tables, chart)


def _facts(alias: str, hour: LastHour | None) -> tuple[list[HealthFact], svg_charts.Chart | None]:
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
    seconds = _behind_seconds(checkpoint, behind, is_running=active)
    facts.append(HealthFact(_("Lag"), f"{as_bytes(behind)}, {seconds:.1f} s", _grade(seconds, 30, 300)))
    facts.append(_held(wal_status, held, safe, run))
    if checkpoint is not None:
        facts.append(HealthFact(_("Last change"), _("%s ago") % _ago(checkpoint[0])))
    if checkpoint is None or hour is None:
        return facts, None
    source = source_of(checkpoint[2], assumed_name(alias))
    return facts, svg_charts.line(hour.labels, hour.behind(source, behind), "B")


def _held(wal_status: str, held: int, safe: int | None, run: str) -> HealthFact:
    room = _("%s more until the server removes it") % as_bytes(safe) if safe is not None else ""
    if wal_status == "lost":
        hint = _("The server removed WAL that was not read: changes are lost. ExportRow the gap and go on:")
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


def _tables(alias: str) -> Iterator[TableHealth]:
    option = "" if alias == "default" else f" --database {alias}"
    sync = f"python manage.py bemi sync{option}"
    try:
        lacking = {step.name: step for step in reversed(tracking.plan(alias))}
    except NotInstalled:
        yield TableHealth(
            "", False, _("the audit trail is not installed"), f"python manage.py migrate{option}"
        )
        return
    with connections[alias].cursor() as cursor:
        like = [tracking.like(conf.include()), tracking.like(conf.exclude())]
        cursor.execute(_TABLES, [conf.publication(), *like])
        found = cursor.fetchall()
    for name, is_published, is_included, is_excluded in found:
        step = lacking.get(name)
        if step is not None and step.statement:
            yield TableHealth(name, is_published, _("missing: %s") % step.what, sync)
        elif step is not None:
            yield TableHealth(name, False, step.what, _remedy(name, step.what))
        elif is_published:
            yield TableHealth(name, True, "", "")
        elif is_excluded:
            yield TableHealth(name, False, _("excluded by BEMI_EXCLUDE"), "")
        elif not is_included:
            yield TableHealth(name, False, _("not in BEMI_INCLUDE"), "")
        else:
            yield TableHealth(name, False, _("removed by an administrator"), sync)


def _remedy(name: str, obstacle: str) -> str:
    return (
        f"ALTER TABLE {name} SET LOGGED;"
        if obstacle == "unlogged"
        else f"ALTER TABLE {name} ADD PRIMARY KEY ...;"
    )


def _gaps() -> Iterator[dict[str, Any]]:
    """Yield the latest gaps."""
    # A GAP of lost history has no table, so the index of tables and keys finds it.
    with no_seqscan():
        found = read_changes(Change.objects.filter(table="", operation="GAP").order_by("-id")[:_LATEST])
    for change in found:
        yield {
            "change": change,
            "context": [(name, as_text(value)) for name, value in sorted(change.context.items())],
        }


def _checked() -> Iterator[CheckMessage]:
    yield from checks.check_settings()
    try:
        yield from checks.check_databases([alias for alias in connections if conf.is_source(alias)])
    except DatabaseError:
        # The facts of this database already say that it is not reachable.
        return


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


def _worst(states: list[str]) -> str:
    return max(states, key=("good", "warning", "bad").index)
