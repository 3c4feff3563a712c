"""Links that narrow the list down to a month or a day."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from typing import Any, NamedTuple

from django.db import connections
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from bemi_django import conf
from bemi_django.admin.display.site_time import today
from bemi_django.admin.search.filters.list_address import list_address
from bemi_django.models import Change

_MONTHS = """
SELECT pg_catalog."right"(c.relname::pg_catalog.text, 7) AS month
FROM pg_catalog.pg_partition_tree(%s::pg_catalog.regclass) t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relid
WHERE t.isleaf AND c.relname::pg_catalog.text OPERATOR(pg_catalog.~) '_[0-9]{4}_[0-9]{2}$'
ORDER BY month DESC LIMIT %s
"""
#: The number of months offered: a line or two of links.
MOST = 12


class DateLink(NamedTuple):
    """A link to the changes of some days."""

    label: str
    query: str
    is_chosen: bool


def links(parameters: Any, since: date | None, until: date | None) -> list[DateLink]:
    """Return links to the last days and to the months of the log, or to the days of the chosen month.

    Args:
        parameters: The query string of the request.
        since: The first day of the list, if any.
        until: The last day of the list, if any.
    """
    present = today()
    chosen = since if since and until and (since.year, since.month) == (until.year, until.month) else None
    yesterday, week = present - timedelta(days=1), present - timedelta(days=6)
    found = [
        _link(parameters, _("All dates"), None, None, since, until),
        _link(parameters, _("Today"), present, present, since, until),
        _link(parameters, _("Yesterday"), yesterday, yesterday, since, until),
        _link(parameters, _("Last 7 days"), week, present, since, until),
    ]
    if chosen is None:
        months = [(present.year, present.month), *_months()]
        for year, month in sorted(dict.fromkeys(months), reverse=True):
            first, last = _bounds(year, month)
            label = date_format(first, "YEAR_MONTH_FORMAT")
            found.append(_link(parameters, label, first, last, since, until))
        return found
    first, last = _bounds(chosen.year, chosen.month)
    found.append(_link(parameters, date_format(first, "YEAR_MONTH_FORMAT"), first, last, since, until))
    for day in range(1, min(last, present).day + 1 if first <= present else 1):
        moment = first.replace(day=day)
        found.append(_link(parameters, str(day), moment, moment, since, until))
    return found


def _months() -> list[tuple[int, int]]:
    with connections[Change.objects.db].cursor() as cursor:
        cursor.execute(_MONTHS, [conf.table().quoted, MOST])
        names = [name for (name,) in cursor.fetchall()]
    present = today()
    months = [(int(name[:4]), int(name[5:])) for name in names]
    return [month for month in months if month <= (present.year, present.month)]


def _bounds(year: int, month: int) -> tuple[date, date]:
    return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])


def _link(
    parameters: Any, label: str, first: date | None, last: date | None, since: Any, until: Any
) -> DateLink:
    query = parameters.copy()
    for name in ("older", "newer", "since", "since_time", "until", "until_time"):
        query.pop(name, None)
    if first and last:
        query["since"], query["until"] = first.isoformat(), last.isoformat()
    return DateLink(label, list_address(query), (since, until) == (first, last))
