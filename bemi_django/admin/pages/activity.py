"""The activity page: changes over time, by operation and by table, of everybody or of one user."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db import OperationalError
from django.db.models import Count
from django.db.models.functions import TruncDay, TruncHour
from django.utils import timezone, translation
from django.utils.formats import date_format, number_format, time_format
from django.utils.translation import gettext as _

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display import svg_charts
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.display.site_time import local, now
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import PageCursor, bitmap_scan_only, read_page
from bemi_django.admin.search.suggestions import suggestions
from bemi_django.admin.search.users import by_user, user_ids
from bemi_django.log.change import ChangeQuerySet

KINDS = ("CREATE", "UPDATE", "DELETE", "BASELINE", "TRUNCATE", "SKIPPED", "GAP", "EVENT", "ERASED")
_FRESH = 60
_LATEST = 20
_TABLES = 12


class ChartSpan(NamedTuple):
    """A period, divided into steps."""

    label: str
    step: timedelta
    steps: int
    is_hourly: bool


def spans() -> dict[str, ChartSpan]:
    """Return the periods that can be chosen."""
    return {
        "day": ChartSpan(_("24 hours"), timedelta(hours=1), 24, True),
        "month": ChartSpan(_("30 days"), timedelta(days=1), 30, False),
        "quarter": ChartSpan(_("90 days"), timedelta(days=1), 90, False),
    }


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template, limited to ``?user=`` if given."""
    request = viewer.request
    name = request.GET.get("span", "month")
    name = name if name in spans() else "month"
    user = request.GET.get("user", "").strip()
    changes = viewer.changes()
    if user:
        changes = changes.filter(by_user(user_ids(user, viewer), viewer))
    found = _cached(viewer, changes, spans()[name])
    page = read_page(
        changes, PageCursor(), is_filtered=bool(user), timeout=query_timeouts.FILTER, size=_LATEST
    )
    # The name of a user of whom the viewer may see nothing is not told.
    names = user_names([user], viewer) if user and page.changes else {}
    labels = dict(viewer.logged_models.labelled())
    total = sum(sum(column.values()) for column in found["columns"]) if found else 0
    return {
        "crumbs": [(_("Activity"), None), *([(names.get(user, user), None)] if user else [])],
        "person": user,
        "person_name": names.get(user, user),
        "is_unknown": bool(user) and not page.changes and not page.is_partial,
        "users": suggestions(viewer).users,
        "span": name,
        "spans": [(key, span.label) for key, span in spans().items()],
        "chart": found and svg_charts.stacked(found["labels"], found["columns"], KINDS),
        "legend": [kind for kind in KINDS if found and any(column.get(kind) for column in found["columns"])],
        "total": _grouped(total) if found else None,
        "total_count": total,
        "tables": _shares(found["tables"], labels) if found else [],
        "rows": list(rows(page.changes, viewer)),
    }


def _cached(viewer: Viewer, changes: ChangeQuerySet, span: ChartSpan) -> dict[str, Any] | None:
    labels = (translation.get_language(), timezone.get_current_timezone_name())
    key = viewer.cache_key("activity", changes, span.step, span.steps, labels)
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = _counted(changes, span)
        if found is not None:
            cache.set(key, found, _FRESH)
    return found


def _counted(changes: ChangeQuerySet, span: ChartSpan) -> dict[str, Any] | None:
    """Count changes by step and operation, and by table; return None if that takes too long."""
    last = now().replace(minute=0, second=0, microsecond=0)
    if not span.is_hourly:
        last = last.replace(hour=0)
    moments = [last - span.step * back for back in reversed(range(span.steps))]
    truncate = TruncHour if span.is_hourly else TruncDay
    counted = (
        changes.filter(committed_at__gte=moments[0])
        .annotate(step=truncate("committed_at"))
        .order_by()
        .values_list("step", "operation", "table")
        .annotate(count=Count("*"))
    )
    try:
        with bitmap_scan_only(query_timeouts.COUNT):
            groups = list(counted)
    except OperationalError:
        return None
    columns: dict[str, Counter[str]] = {_label(moment, span): Counter() for moment in moments}
    tables: Counter[str] = Counter()
    for step, operation, table, count in groups:
        columns.setdefault(_label(step, span), Counter())[operation] += count
        tables[table] += count
    labels = [_label(moment, span) for moment in moments]
    return {"labels": labels, "columns": [dict(columns[label]) for label in labels], "tables": dict(tables)}


def _grouped(count: int) -> str:
    return number_format(count, force_grouping=True)


def _label(moment: datetime, span: ChartSpan) -> str:
    begin = local(moment)
    return time_format(begin, "H:i") if span.is_hourly else date_format(begin, "MONTH_DAY_FORMAT")


def _shares(tables: dict[str, int], labels: dict[str, str]) -> list[dict[str, Any]]:
    most = sorted(tables.items(), key=lambda item: -item[1])[:_TABLES]
    return [
        {
            "table": table,
            "label": labels.get(table, table or _("(none)")),
            "count": _grouped(count),
            "share": round(100 * count / most[0][1]),
        }
        for table, count in most
    ]
