"""The months that only the archive has."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from bemi_django import conf
from bemi_django.models import Change

#: Months that are named.
_MOST = 12


def said_of_archived_months(lacking: str) -> Iterator[str]:
    """Yield a line that says which months only the archive has, and how to bring them back.

    Args:
        lacking: What is not known of these months, for the line.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    if not conf.archive():
        return
    if find_spec("pyarrow") is None:
        yield (
            f"BEMI_ARCHIVE may have months that the log does not have, and {lacking}: run pip install "
            "'bemi-django-wal[archive]' and ask it with 'manage.py bemi archive query'"
        )
        return
    if months := list(_months()):
        named = ", ".join(months[:_MOST]) + (f" and {len(months) - _MOST} more" if months[_MOST:] else "")
        yield (
            f"only the archive has the months {named}, and {lacking}: bring each of them back with "
            f"'manage.py bemi import {months[0]}' and run this again, or ask them with "
            "'manage.py bemi archive query'"
        )


def _months() -> Iterator[str]:
    from bemi_django.archive.location import open_location

    log = Change.objects.using(conf.destination()).order_by()
    for month in open_location(conf.archive()).months():
        if not log.filter(committed_at__gte=month.start, committed_at__lt=month.next.start).exists():
            yield str(month)
