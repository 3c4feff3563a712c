"""Moments and days in the current time zone, with and without ``USE_TZ``."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

_LONGEST_IN_MS = timedelta(seconds=10)


def local(moment: datetime) -> datetime:
    """Return a moment in the current time zone. Without ``USE_TZ``, moments are naive and local already."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def now() -> datetime:
    """Return the present in the current time zone."""
    return local(timezone.now())


def today() -> date:
    """Return the present day."""
    return now().date()


def as_stored(moment: datetime) -> datetime:
    """Return a moment in the form that Django has it from the database: aware with ``USE_TZ``, else naive.

    Raises:
        ValueError: If the moment is too close to the end of the calendar to be shown in every time zone.
    """
    try:
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment)
        moment = timezone.localtime(moment)
        _range = (moment - timedelta(days=1), moment + timedelta(days=1))
    except OverflowError as error:
        raise ValueError(f"{moment} is out of range") from error
    return moment if settings.USE_TZ else timezone.make_naive(moment, timezone.get_default_timezone())


def midnight(day: date, at: time | None = None) -> datetime:
    """Return the beginning of a day, or another time of it."""
    begin = datetime.combine(day, at or time.min)
    return timezone.make_aware(begin) if settings.USE_TZ else begin


def next_midnight(day: date) -> datetime | None:
    """Return the end of a day, or None for the last day of the calendar."""
    return midnight(day + timedelta(days=1)) if day < date.max else None


def shifted(moment: datetime, by: timedelta) -> datetime:
    """Return a moment moved by some time, or as it is if the calendar ends before that."""
    try:
        return moment + by
    except OverflowError:
        return moment


def ago(moment: datetime) -> str:
    """Return how long ago a moment was, in its greatest unit."""
    # Less than a minute is no minutes to timesince().
    if timezone.now() - moment < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, depth=1)}


def lasted(begin: datetime, end: datetime) -> str:
    """Return how long it was from one moment to another, in its greatest unit."""
    seconds = int((end - begin).total_seconds())
    if seconds < 1:
        return _("less than a second")
    if seconds < 60:
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    return timesince(begin, end, depth=1)


def took(duration: timedelta) -> str:
    """Return a duration: in milliseconds up to 10 seconds, above it in its greatest unit."""
    if duration < _LONGEST_IN_MS:
        number = number_format(round(duration / timedelta(milliseconds=1)))
        return _("%(number)s ms") % {"number": number}
    end = timezone.now()
    return lasted(end - duration, end)


def as_input(moment: datetime) -> str:
    """Return a moment as the value of a ``datetime-local`` input."""
    return local(moment).replace(tzinfo=None).isoformat(timespec="seconds")
