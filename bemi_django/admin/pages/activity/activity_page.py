"""The activity page: changes over time, and who and what they are of, of everybody or of one of them."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actors import user_names
from bemi_django.admin.display.change_rows import rows
from bemi_django.admin.display.site_time import now
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.admin.pages.activity import hour_chart
from bemi_django.admin.pages.activity.activity_range import ActivityRange, presets, range_of
from bemi_django.admin.pages.activity.hour_counts import HourCounts, counts_of, visible_kinds
from bemi_django.admin.pages.activity.rankings import grouped, rankings
from bemi_django.admin.pages.list_neighbours import list_query
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.paging import Page, PageCursor, cursor_before, read_page
from bemi_django.admin.search.people.users import by_user, context_parts
from bemi_django.admin.search.suggestions import suggestions
from bemi_django.log.change import ChangeQuerySet

KINDS = ("CREATE", "UPDATE", "DELETE", "BASELINE", "TRUNCATE", "SKIPPED", "GAP", "EVENT", "ERASED")
_LATEST = 20
#: The smallest share that is told, in per cent.
_SMALLEST = 0.1


def template_context(viewer: Viewer) -> dict[str, Any]:
    """Return the context of the template, limited to ``?user=`` if given."""
    request = viewer.request
    asked = range_of(request.GET)
    user = request.GET.get("user", "").strip()
    changes = viewer.changes()
    if user:
        changes = changes.filter(by_user(context_parts(user, viewer), viewer))
    counts = counts_of(viewer, changes, asked)
    page = _latest(changes, asked)
    known = _newest(changes) if user and not page.changes else page
    # The name of a user of whom the viewer may see nothing is not told.
    names = user_names([user], viewer) if user and known.changes else {}
    here = {**asked.parameters, **({"user": user} if user else {})}
    total = counts.sums.total if counts else 0
    period = f"{asked.query}{'&' + urlencode({'user': user}) if user else ''}"
    heat_rows, busiest = hour_chart.heat(counts.sums.week) if counts else ([], "")
    return {
        "crumbs": [(_("Activity"), None), *([(in_order(names.get(user, user)), None)] if user else [])],
        "person": user,
        "person_name": names.get(user, user),
        "is_unknown": bool(user) and not known.changes and not known.is_partial,
        "users": suggestions(viewer).users,
        "asked": asked,
        "presets": [(key, label, urlencode({**here, "span": key})) for key, label in _presets(here)],
        "csv_query": urlencode({**here, "format": "csv"}) if viewer.has("export") and not asked.error else "",
        "period_query": period,
        "list_query": list_query(QueryDict(period)),
        "chart": counts and hour_chart.chart(list(asked.steps()), counts.sums, KINDS),
        "total": grouped(total) if counts else None,
        "total_count": total,
        "figures": _figures(viewer, asked, counts) if counts and not user else [],
        "rankings": _rankings(viewer, counts, is_of_user=bool(user)) if counts else [],
        "heat": heat_rows if total else [],
        "busiest": busiest,
        "hours": range(24),
        "rows": list(rows(page.changes, viewer)),
    }


def _latest(changes: ChangeQuerySet, asked: ActivityRange) -> Page:
    """Return the latest changes of the period."""
    within = changes.filter(committed_at__gte=asked.begin, committed_at__lt=asked.end)
    begin = cursor_before(asked.end) if asked.end <= now() else PageCursor()
    return read_page(within, begin, is_filtered=True, timeout=query_timeouts.FILTER, size=_LATEST)


def _newest(changes: ChangeQuerySet) -> Page:
    """Return the newest change of a user, of whatever time."""
    return read_page(changes, PageCursor(), is_filtered=True, timeout=query_timeouts.FILTER, size=1)


def _presets(here: dict[str, str]) -> list[tuple[str, str]]:
    for name in ("since", "until"):
        here.pop(name, None)
    return [(key, label) for key, (label, _days) in presets().items()]


def _rankings(viewer: Viewer, counts: HourCounts, *, is_of_user: bool) -> list[Any]:
    found = list(rankings(viewer, counts))
    return [each for each in found if each.kind not in {"user", "group"}] if is_of_user else found


def _figures(viewer: Viewer, asked: ActivityRange, counts: HourCounts) -> list[tuple[str, str, str, str]]:
    """Return labels, numbers, explanations and links of what the page says first."""
    kinds, total = visible_kinds(viewer), counts.sums.total
    found = [(_("Changes"), grouped(total), "", asked.query)]
    if "user" in kinds:
        users = counts.kinds.get("user")
        found.append((_("Users"), grouped(users.names if users else 0), "", ""))
    if "outside" in kinds:
        outside = counts.kinds.get("outside")
        number = outside.changes if outside else 0
        told = ngettext("%(number)s change", "%(number)s changes", number) % {"number": grouped(number)}
        query = f"{asked.query}&outside=on" if number else ""
        found.append((_("Outside the application"), share(number, total), told, query))
    return found


def share(number: int, total: int) -> str:
    """Return a part of a number in per cent. A small part is not none, and a large one is not all of it."""
    percent = 100 * number / total if total else 0.0
    text = _("%(number)s%%")
    if 0 < percent < _SMALLEST:
        percent, text = _SMALLEST, _("less than %(number)s%%")
    elif number < total:
        percent = min(percent, 100 - _SMALLEST)
    return text % {"number": number_format(round(percent, 1), 1)}
