"""The query of a saved view: filters of the list, with days that move with the calendar."""

from __future__ import annotations

import re
from datetime import date, timedelta

from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from bemi_django.admin.display.site_time import today
from bemi_django.admin.search.filter_form import FilterForm

#: How the list shows what it finds, each with the value that is no default.
_SHOWN_AS = {"view": "rows", "raw": "1"}
_DAYS = ("since", "until")
#: The periods that the list offers by name: the first and the last day, in days before the present.
_PERIODS = {(0, 0): _("Today"), (1, 1): _("Yesterday"), (6, 0): _("Last 7 days")}
_MOVING = re.compile(r"today-(\d{1,2})")


def query_of(parameters: QueryDict) -> QueryDict:
    """Return the filters among the parameters of a list, and how it shows what it finds."""
    found = QueryDict(mutable=True)
    for name in FilterForm.base_fields:
        values = [value.strip() for value in parameters.getlist(name) if value.strip()]
        if values:
            found.setlist(name, values)
    for name, value in _SHOWN_AS.items():
        if parameters.get(name) == value:
            found[name] = value
    return found


def stored(query: QueryDict) -> str:
    """Return a query as it is stored: "today", "yesterday" and "the last 7 days" stay what they are."""
    found, present = query.copy(), today()
    given = [query.get(name) for name in _DAYS]
    for period in _PERIODS:
        if given == [(present - timedelta(days=days)).isoformat() for days in period]:
            for name, days in zip(_DAYS, period, strict=True):
                found[name] = f"today-{days}"
    return found.urlencode()


def opened(text: str) -> QueryDict:
    """Return the query that is stored as a text, with the days that it means at present."""
    found = QueryDict(text, mutable=True)
    for name in _DAYS:
        moving = _MOVING.fullmatch(found.get(name, ""))
        if moving:
            found[name] = _before_today(int(moving[1])).isoformat()
    return found


def period_of(text: str) -> str:
    """Return what the days of a stored query are called, if they move with the calendar, or nothing."""
    found = QueryDict(text)
    moving = [_MOVING.fullmatch(found.get(name, "")) for name in _DAYS]
    days = tuple(int(match[1]) for match in moving if match)
    return str(_PERIODS.get((days[0], days[1]), "")) if len(days) == len(_DAYS) else ""


def _before_today(days: int) -> date:
    return today() - timedelta(days=days)
