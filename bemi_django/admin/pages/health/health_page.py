"""The health page: the worker, retained WAL, tracked tables, gaps, dead letters, and how to fix each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from django.core.checks import CheckMessage
from django.db import DatabaseError, connections, transaction
from django.utils.translation import gettext as _

from bemi_django import checks, conf
from bemi_django.admin.access.kept_tables import DEAD_LETTERS, may_read
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display import svg_charts
from bemi_django.admin.display.contexts.known_keys import key_name
from bemi_django.admin.display.value_diff import as_text
from bemi_django.admin.display.values.moments import month_text
from bemi_django.admin.pages.health import throughput
from bemi_django.admin.pages.health.amounts import bytes_text, count_text, seconds_text
from bemi_django.admin.pages.health.health_sources import HealthFact, baseline_facts, source_facts
from bemi_django.admin.pages.health.health_tables import TableHealth, table_health
from bemi_django.admin.pages.health.throughput import LastHour
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.query_plans import no_seqscan
from bemi_django.checks.databases import WORKER
from bemi_django.models import Change, DeadLetter
from bemi_django.schema.database_names import assumed_name
from bemi_django.status.log_growth import read_growth
from bemi_django.status.time_limits import is_given_up, time_limits

_LATEST = 10
#: How long a statement may take.
_PATIENCE = "1min"


class SourceHealth(NamedTuple):
    """A database whose changes are recorded; ``bytes_chart`` shows how far the log was behind its WAL."""

    alias: str
    database: str
    facts: list[HealthFact]
    tables: list[TableHealth]
    bytes_chart: svg_charts.Chart | None


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template.

    A viewer whose scope is not the whole log sees the state of the worker, but nothing of tables and changes.
    """
    if viewer.is_scoped:
        sources = [_source(alias, None, has_tables=False) for alias in _aliases()]
        state = _worst([fact.state for source in sources for fact in source.facts])
        return {"sources": sources, "is_scoped": True, "state": state}
    try:
        with time_limits(conf.destination(), _PATIENCE):
            return _of_everything(viewer)
    except DatabaseError as error:
        if not is_given_up(error):
            raise
        hint = _("Another session holds a lock, or the server is overloaded. Reload the page later.")
        facts = [HealthFact(_("State"), _("cannot be read now"), "bad", hint)]
        sources = [SourceHealth(alias, assumed_name(alias), facts, [], None) for alias in _aliases()]
        return {"sources": sources, "is_scoped": True, "is_unread": True, "state": "bad"}


def _aliases() -> list[str]:
    return [alias for alias in connections if conf.is_source(alias)]


def _of_everything(viewer: Viewer) -> dict[str, Any]:
    hour = throughput.read_last_hour()
    sources = [_source(alias, hour) for alias in _aliases()]
    problems = list(_checked())
    gaps = list(_gaps(viewer))
    letters = list(_letters()) if may_read(DEAD_LETTERS) else []
    tracked = [table.is_tracked for source in sources for table in source.tables]
    facts = [fact for source in sources for fact in source.facts]
    return {
        "sources": sources,
        "lag_chart": hour and svg_charts.line(hour.labels, hour.seconds, seconds_text),
        "pace_chart": hour
        and svg_charts.stacked(
            hour.labels, [{"UPDATE": count} for count in hour.counts], ("UPDATE",), count_text
        ),
        "gaps": gaps,
        "letters": letters,
        "letters_command": "python manage.py bemi retry-dead-letters",
        "checks": problems,
        "growth": _growth(),
        "tracked": sum(tracked),
        "untracked": len(tracked) - sum(tracked),
        "state": _worst([*(fact.state for fact in facts), "warning" if letters or problems else "good"]),
    }


def _source(alias: str, hour: LastHour | None, *, has_tables: bool = True) -> SourceHealth:
    name = assumed_name(alias)
    try:
        with time_limits(alias, _PATIENCE):
            facts, chart = source_facts(alias, hour)
            tables = list(table_health(alias)) if has_tables else []
            facts += baseline_facts(alias) if has_tables else []
    except DatabaseError as error:
        if is_given_up(error) and has_tables:
            # Everything else would be waited for, too.
            raise
        hint = str(error).strip().partition("\n")[0]
        return SourceHealth(
            alias, name, [HealthFact(_("Database"), _("not reachable"), "bad", hint)], [], None
        )
    return SourceHealth(alias, name, facts, tables, chart)


def _letters() -> Any:
    """Return the latest dead letters, without their values."""
    found = DeadLetter.objects.order_by("-id")
    return found.values("id", "slot", "change_id", "reason", "created_at")[:_LATEST]


def _growth() -> dict[str, Any] | None:
    """Return the size of the log by month, and what it will be."""
    try:
        with transaction.atomic(using=conf.destination()):
            found = read_growth(conf.destination())
    except DatabaseError as error:
        if is_given_up(error):
            raise
        return None
    return {
        "months": [
            (month_text(month.month), bytes_text(month.size), count_text(month.changes))
            for month in reversed(found.months)
        ],
        "a_day": bytes_text(found.bytes_a_day),
        "in_30_days": bytes_text(found.in_30_days),
        "in_a_year": bytes_text(found.in_a_year),
    }


def _gaps(viewer: Viewer) -> Iterator[dict[str, Any]]:
    """Yield the latest gaps."""
    # A GAP of lost history has no table, so the index of tables and keys finds it.
    with no_seqscan():
        found = read_changes(Change.objects.filter(table="", operation="GAP").order_by("-id")[:_LATEST])
    for change in found:
        yield {
            "change": change,
            "context": [
                (key_name(name), as_text(value)) for name, value in sorted(viewer.context(change).items())
            ],
        }


def _checked() -> Iterator[CheckMessage]:
    yield from checks.check_settings()
    try:
        with ExitStack() as stack:
            # What is refused must not end the transaction of the page.
            for alias in _aliases():
                stack.enter_context(transaction.atomic(using=alias))
            found = checks.check_databases(_aliases())
    except DatabaseError as error:
        if is_given_up(error):
            raise
        # The facts of this database already say that it is not reachable.
        return
    # The facts of each database tell of its worker.
    yield from (message for message in found if message.id != WORKER)


def _worst(states: list[str]) -> str:
    return max(states, key=("good", "warning", "bad").index)
