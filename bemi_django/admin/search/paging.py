"""Keyset pages of the log: no counts, no offsets, and stable while changes are written."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.http import Http404, QueryDict

from bemi_django.admin.display.site_time import shifted
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.list_order import ListOrder, ListPlace, order_of_list
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only, no_seqscan
from bemi_django.log.change import ChangeQuerySet
from bemi_django.models import Change

SIZE = 50
#: Changes looked through at a time for those that match, which takes a few milliseconds.
WINDOW = 20_000
#: Changes looked through first: most filters match enough of these.
FIRST_WINDOW = 1000
#: Time spent looking through windows before a page is shown.
BUDGET_SECONDS = 0.1


class PageCursor(NamedTuple):
    """Where a page begins.

    Attributes:
        id: The id before the first of the page, or None for the newest page.
        is_newer: Whether the page is read towards the present.
        is_first: Whether nothing comes before the page.
        committed_at: The time of the change with this id, if it is known.
    """

    id: UUID | None = None
    is_newer: bool = False
    is_first: bool = False
    committed_at: datetime | None = None


class Page(NamedTuple):
    """Changes, newest first, and where the neighbouring pages begin.

    Attributes:
        changes: The changes of the page.
        older: The id at which the next page begins, or None on the last page.
        newer: The id at which the previous page begins, or None on the first page.
        is_partial: Whether the search ended before the page was full; ``older`` (or ``newer``) continues it.
    """

    changes: list[Change]
    older: UUID | None
    newer: UUID | None
    is_partial: bool


def cursor_of(parameters: QueryDict) -> PageCursor:
    """Return where the page begins that a query string asks for.

    Raises:
        Http404: If ``older`` or ``newer`` is not an id.
    """
    try:
        for name in ("older", "newer"):
            if parameters.get(name):
                return PageCursor(UUID(str(parameters[name])), name == "newer")
    except ValueError:
        raise Http404 from None
    return PageCursor()


def read_page(
    changes: ChangeQuerySet,
    cursor: PageCursor,
    *,
    is_filtered: bool,
    timeout: int,
    size: int = SIZE,
    enough: int | None = None,
    is_one_server: bool = False,
) -> Page:
    """Read one page of changes.

    Args:
        changes: The changes to page through.
        cursor: Where the page begins.
        is_filtered: Whether ``changes`` leaves out part of the log.
        timeout: Time limit (ms) for the index that finds matching changes; see ``query_timeouts``.
        size: The number of changes on a page.
        enough: The number of changes with which a search may end before the page is full.
        is_one_server: Whether all of the changes are of one server.

    Returns:
        The page; partial if the search ended before it was full, the newest if it should begin at a removed
        change.
    """
    order = order_of_list(is_one_server=is_one_server)
    begin = _place(order, cursor)
    cursor = PageCursor() if begin is None else cursor
    beyond = _beyond(order, changes, begin, cursor.is_newer)
    if not is_filtered:
        with no_seqscan():
            found, limit = read_changes(beyond[: size + 1]), None
    else:
        found, limit = _search(order, beyond, begin, cursor.is_newer, timeout, size, enough or size + 1)
    has_more = len(found) > size
    found = found[:size]
    is_partial = limit is not None and not has_more
    end = limit.id if is_partial and limit else found[-1].id if found and has_more else None
    if not cursor.is_newer:
        start = None if cursor.id is None or cursor.is_first else found[0].id if found else cursor.id
        return Page(found, end, start, is_partial)
    found.reverse()
    return Page(found, found[-1].id if found else cursor.id, end, is_partial)


def _search(
    order: ListOrder,
    beyond: ChangeQuerySet,
    first: ListPlace | None,
    is_newer: bool,
    timeout: int,
    size: int,
    enough: int,
) -> tuple[list[Change], ListPlace | None]:
    """Return a page of changes and one more, and the place that the search reached, or None at the end."""
    deadline = time.monotonic() + BUDGET_SECONDS
    found: list[Change] = []
    begin, is_begun, length = first, False, min(FIRST_WINDOW, WINDOW)
    while True:
        limit = _limit(order, begin, is_newer, length)
        found += _window(order, _beyond(order, beyond, begin, is_newer), limit, is_newer, size - len(found))
        if limit is None or len(found) > size or (length == WINDOW and len(found) >= enough):
            return found, limit
        if length == WINDOW and not is_begun and timeout != query_timeouts.NO_INDEX:
            is_begun = True
            whole = _by_index(beyond, size, timeout)
            if whole is not None:
                return whole, None
        # An index is asked whatever the first window took.
        if time.monotonic() > deadline and length == WINDOW:
            return found, limit
        begin, length = limit, WINDOW


def _place(order: ListOrder, cursor: PageCursor) -> ListPlace | None:
    if cursor.id is None:
        return None
    known = cursor.committed_at
    return order.place(cursor.id) if known is None else ListPlace(known, cursor.id)


def _beyond(
    order: ListOrder, changes: ChangeQuerySet, begin: ListPlace | None, is_newer: bool
) -> ChangeQuerySet:
    changes = order.apply(changes, is_newer=is_newer)
    return changes if begin is None else order.beyond(changes, begin, is_newer=is_newer)


def _limit(order: ListOrder, begin: ListPlace | None, is_newer: bool, length: int) -> ListPlace | None:
    """Return the last place of a window of this length, or None if it reaches the end of the log."""
    with no_seqscan():
        places = _beyond(order, Change.objects.all(), begin, is_newer).values_list("committed_at", "id")
        return next((ListPlace(*place) for place in places[length - 1 : length]), None)


def _window(
    order: ListOrder, changes: ChangeQuerySet, limit: ListPlace | None, is_newer: bool, size: int
) -> list[Change]:
    if limit is not None:
        changes = order.up_to(changes, limit, is_newer=is_newer)
    with no_seqscan():
        return read_changes(changes[: size + 1])


def _by_index(changes: ChangeQuerySet, size: int, timeout: int) -> list[Change] | None:
    """Return the changes of a page, or None if there are too many to sort in time."""
    try:
        # Otherwise the planner walks the whole log backwards, hoping to meet a match soon.
        with bitmap_scan_only(timeout):
            return read_changes(changes[: size + 1])
    except TimedOut:
        return None


def nearest_change(changes: ChangeQuerySet, keys: Iterable[str], *, is_oldest: bool = False) -> Change | None:
    """Return the newest change of rows that have or had one of the keys.

    Each key is looked up on its own: with OR the planner walks through all changes.

    Args:
        changes: The changes to search.
        keys: Primary keys, as the log writes them.
        is_oldest: Whether to return the oldest change instead.

    Returns:
        The change, or None if there is none.
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
    """Return where the changes committed before a moment begin."""
    if order_of_list().by_time:
        return PageCursor(UUID(int=0), is_first=True, committed_at=moment)
    # A commit's time is taken before its position.
    until = shifted(moment, timedelta(minutes=1))
    for length in (timedelta(hours=1), timedelta(days=1)):
        close = Change.objects.filter(committed_at__gte=shifted(moment, -length), committed_at__lt=until)
        with bitmap_scan_only(query_timeouts.LOOKUP):
            newest = close.order_by("-id").values_list("id", flat=True).first()
        if newest is not None:
            return PageCursor(UUID(int=newest.int + 1), is_first=True)
    return PageCursor()
