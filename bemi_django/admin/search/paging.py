"""Pages of the log by key: no count, no offset, and the same whatever is written meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, connections, transaction
from django.http import Http404, QueryDict

from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.exceptions import sqlstate_of
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

SIZE = 50
#: How many changes are looked through at a time for those that match; a few milliseconds.
WINDOW = 20_000
#: For how long windows are looked through before a page is shown.
BUDGET_SECONDS = 0.1

_QUERY_CANCELED = "57014"
_SOURCES = "SELECT count(DISTINCT system_identifier) FROM _bemi_checkpoint"


class PageCursor(NamedTuple):
    """The id at which a page begins, exclusive; a page of ``is_newer`` is read towards the present.

    ``is_first``: there is nothing before it.
    """

    id: UUID | None = None
    is_newer: bool = False
    is_first: bool = False


class Page(NamedTuple):
    """The newest first. ``older`` and ``newer`` are where the neighbours begin, None: there is none.

    ``is_partial``: not everything was looked through, ``older`` (or ``newer``) goes on with it.
    """

    changes: list[Change]
    older: UUID | None
    newer: UUID | None
    is_partial: bool


def cursor_of(parameters: QueryDict) -> PageCursor:
    """Where the page begins. Raises Http404 for what is no id."""
    try:
        for name in ("older", "newer"):
            if parameters.get(name):
                return PageCursor(UUID(str(parameters[name])), name == "newer")
    except ValueError:
        raise Http404 from None
    return PageCursor()


def read_page(
    changes: ChangeQuerySet, cursor: PageCursor, *, is_filtered: bool, timeout: int, size: int = SIZE
) -> Page:
    """The changes beyond the cursor.

    ``timeout`` is the patience with the index that finds those that match.
    """
    beyond = _beyond(changes, cursor)
    limit = None
    if not is_filtered:
        with no_seqscan():
            found = read_changes(beyond[: size + 1])
    else:
        found, limit = _search(beyond, cursor, timeout, size)
    has_more = len(found) > size
    found = found[:size]
    is_partial = limit is not None and not has_more
    end = limit if is_partial else found[-1].id if found and has_more else None
    if not cursor.is_newer:
        start = None if cursor.id is None or cursor.is_first else found[0].id if found else cursor.id
        return Page(found, end, start, is_partial)
    found.reverse()
    return Page(found, found[-1].id if found else cursor.id, end, is_partial)


def _search(
    beyond: ChangeQuerySet, cursor: PageCursor, timeout: int, size: int
) -> tuple[list[Change], UUID | None]:
    """The changes of a page and one more, and the id up to which was looked; None: everything was."""
    deadline = time.monotonic() + BUDGET_SECONDS
    found: list[Change] = []
    begin = cursor
    while True:
        limit = _limit(begin)
        found += _window(beyond, begin, limit, size - len(found))
        if limit is None or len(found) > size:
            return found, limit
        if begin is cursor and timeout != query_timeouts.NO_INDEX:
            whole = _by_index(beyond, size, timeout)
            if whole is not None:
                return whole, None
        if time.monotonic() > deadline:
            return found, limit
        begin = PageCursor(limit, cursor.is_newer)


def _beyond(changes: ChangeQuerySet, cursor: PageCursor) -> ChangeQuerySet:
    if cursor.is_newer:
        return changes.filter(id__gt=cursor.id).order_by("id")
    changes = changes.order_by("-id")
    return changes if cursor.id is None else changes.filter(id__lt=cursor.id)


def _limit(begin: PageCursor) -> UUID | None:
    """The last id of the window; None: the window reaches to the end."""
    with no_seqscan():
        ids = _beyond(Change.objects.all(), begin).values_list("id", flat=True)
        return next(iter(ids[WINDOW - 1 : WINDOW]), None)


def _window(beyond: ChangeQuerySet, begin: PageCursor, limit: UUID | None, size: int) -> list[Change]:
    changes = _beyond(beyond, begin)
    if limit is not None:
        changes = changes.filter(id__lte=limit) if begin.is_newer else changes.filter(id__gte=limit)
    with no_seqscan():
        return read_changes(changes[: size + 1])


def _by_index(changes: ChangeQuerySet, size: int, timeout: int) -> list[Change] | None:
    """None when there are too many to sort in time."""
    try:
        # The planner would walk the whole log backwards, in the hope to meet the first of them soon.
        with bitmap_scan_only(timeout):
            return read_changes(changes[: size + 1])
    except OperationalError as error:
        if sqlstate_of(error) != _QUERY_CANCELED:
            raise
        return None


def nearest_change(changes: ChangeQuerySet, keys: Iterable[str], *, is_oldest: bool = False) -> Change | None:
    """The newest change, or the oldest, of rows that have or had one of the keys.

    One look at an index for each key: with OR the planner would walk through all changes.
    """
    order = "id" if is_oldest else "-id"
    found: list[Change] = []
    with no_seqscan():
        for key in keys:
            for column in ("primary_key", "previous_primary_key"):
                found += read_changes(changes.filter(**{column: key}).order_by(order)[:1])
    choose = min if is_oldest else max
    return choose(found, key=lambda change: change.id, default=None)


def cursor_before(moment: datetime) -> PageCursor:
    """Where the changes before a moment begin, in the order of commits."""
    with connections[Change.objects.db].cursor() as cursor:
        cursor.execute(_SOURCES)
        if cursor.fetchone()[0] != 1:
            # The ids of several servers are several orders.
            return PageCursor()
    # A commit may have its time a moment before its place.
    until = moment + timedelta(minutes=1)
    for length in (timedelta(hours=1), timedelta(days=1)):
        close = Change.objects.filter(committed_at__gte=moment - length, committed_at__lt=until)
        with bitmap_scan_only(query_timeouts.LOOKUP):
            newest = close.order_by("-id").values_list("id", flat=True).first()
        if newest is not None:
            return PageCursor(UUID(int=newest.int + 1), is_first=True)
    return PageCursor()


@contextmanager
def bitmap_scan_only(timeout: int) -> Iterator[None]:
    """Read by the indexes of conditions, never in the order of ids; at most for so many milliseconds."""
    with no_seqscan("SET LOCAL enable_indexscan = off", f"SET LOCAL statement_timeout = {timeout}"):
        yield


@contextmanager
def no_seqscan(*settings: str) -> Iterator[None]:
    """A transaction on the log in which nothing is read from one end to the other."""
    alias = Change.objects.db
    settings = ("SET LOCAL enable_seqscan = off", *settings)
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("; ".join(settings))
        yield
        # A transaction of somebody else around this one goes on with what it had.
        cursor.execute("; ".join(_reset(setting) for setting in settings))


def _reset(setting: str) -> str:
    name = setting.removeprefix("SET LOCAL ").partition(" ")[0]
    return f"SET LOCAL {name} TO DEFAULT"
