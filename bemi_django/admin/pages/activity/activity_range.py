"""The period that the activity page is about, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple

from django.utils.dateparse import parse_date
from django.utils.formats import date_format, time_format
from django.utils.http import urlencode
from django.utils.timezone import is_aware
from django.utils.translation import gettext as _

from bemi_django.admin.display.site_time import local, midnight, now, today
from bemi_django.admin.display.values.text_lists import comma_list

#: Days up to which a chart has hours, and days, as its steps.
_HOURLY, _DAILY = 2, 130
_LONGEST = 366 * 20


class ChartStep(NamedTuple):
    """A column of the chart: when it begins and ends, and what is shown and searched for."""

    begin: datetime
    end: datetime
    label: str
    title: str
    query: str


class ActivityRange(NamedTuple):
    """A period of whole hours.

    Attributes:
        since: Its first day.
        until: Its last day.
        begin: Its first moment.
        end: The moment after it.
        preset: The name of the preset, empty if the days were chosen.
        error: Why other days were asked for than are shown, or nothing.
        typed: What was typed as both days, if it is refused.
    """

    since: date
    until: date
    begin: datetime
    end: datetime
    preset: str
    error: str = ""
    typed: tuple[str, str] = ("", "")

    @property
    def inputs(self) -> tuple[str, str]:
        """The values of the form."""
        return self.typed if self.error else (self.since.isoformat(), self.until.isoformat())

    @property
    def is_future(self) -> bool:
        """Whether some of the days are yet to come."""
        return self.until > today()

    @property
    def query(self) -> str:
        """The parameters that select the period in the list."""
        return _query(self.begin, self.end)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters that select the period on this page."""
        if self.preset:
            return {"span": self.preset}
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}

    def steps(self) -> Iterator[ChartStep]:
        """Yield the columns of the chart."""
        days = (self.until - self.since).days + 1
        if self.preset == "day" or days <= _HOURLY:
            yield from self._hours()
            return
        length = 1 if days <= _DAILY else 7
        day = self.since
        while day <= self.until:
            following = min(day + timedelta(days=length), self.until + timedelta(days=1))
            begin, end = midnight(day), midnight(following)
            label = date_format(day, "MONTH_DAY_FORMAT")
            last = following - timedelta(days=1)
            title = date_format(day) if length == 1 else f"{date_format(day)} \N{EN DASH} {date_format(last)}"
            yield ChartStep(begin, end, label, title, _query(begin, end))
            day = following

    def _hours(self) -> Iterator[ChartStep]:
        begin = self.begin
        if is_aware(begin):
            # A day on which clocks change has not 24 hours.
            begin = begin.astimezone(timezone.utc)
        while begin < self.end:
            end = begin + timedelta(hours=1)
            place = local(begin)
            label = time_format(place, "H:i")
            yield ChartStep(begin, end, label, comma_list((date_format(place), label)), _query(begin, end))
            begin = end


def presets() -> dict[str, tuple[str, int]]:
    """Return the periods that can be chosen, up to now: their labels and numbers of days."""
    return {
        "day": (_("24 hours"), 1),
        "week": (_("7 days"), 7),
        "month": (_("30 days"), 30),
        "quarter": (_("90 days"), 90),
        "year": (_("A year"), 365),
    }


def range_of(parameters: Any) -> ActivityRange:
    """Return the period that a query string asks for."""
    given = [str(parameters.get(name, "")).strip()[:100] for name in ("since", "until")]
    error = ""
    if any(given):
        found, error = _chosen(*given)
        if found is not None:
            return found
    span = parameters.get("span", "month")
    span = span if span in presets() else "month"
    present, typed = today(), (given[0], given[1])
    if span == "day":
        end = now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        begin = end - timedelta(hours=24)
        return ActivityRange(local(begin).date(), present, begin, end, span, error, typed)
    since = present - timedelta(days=presets()[span][1] - 1)
    end = midnight(present + timedelta(days=1))
    return ActivityRange(since, present, midnight(since), end, span, error, typed)


def _chosen(first: str, last: str) -> tuple[ActivityRange | None, str]:
    """Return the period between two days, one of which may be empty, or why there is none."""
    since, until = _day(first), _day(last)
    for text, day in ((first, since), (last, until)):
        if text and day is None:
            return None, _("“%(value)s” is not a valid date.") % {"value": text}
    until = until or today()
    try:
        since = since or until - timedelta(days=29)
        if since > until:
            return None, _("The period ends before it begins.")
        if (until - since).days > _LONGEST:
            return None, _("The period is too long.")
        begin, end = midnight(since), midnight(until + timedelta(days=1))
        # In every time zone, the months around it are in the calendar.
        _margins = begin - timedelta(days=40), end + timedelta(days=40)
        return ActivityRange(since, until, begin, end, ""), ""
    except (OverflowError, ValueError):
        return None, _("“%(value)s” is not a valid date.") % {"value": until}


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _query(begin: datetime, end: datetime) -> str:
    first, last = local(begin), local(end) - timedelta(minutes=1)
    query = {"since": first.date().isoformat(), "until": last.date().isoformat(), "records": "on"}
    if first.hour or first.minute:
        query["since_time"] = first.strftime("%H:%M")
    if (last.hour, last.minute) != (23, 59):
        query["until_time"] = last.strftime("%H:%M")
    return urlencode(query)
