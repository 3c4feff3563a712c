"""What a list shows: the changes of one log, or those of all destinations by time, read side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.http import QueryDict

from bemi_django import destinations
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.action import ChangeKind, CountedChanges, TransactionName
from bemi_django.admin.search import row_estimate, transaction_spans
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.filter_form import FilterForm
from bemi_django.admin.search.filters.filtered_changes import FilteredChanges
from bemi_django.admin.search.list_order import ListPlace, order_of_list
from bemi_django.admin.search.paging import SIZE, Page, PageCursor, read_page
from bemi_django.admin.search.transaction_spans import Span
from bemi_django.models import Change

_T = TypeVar("_T")
#: What is left out where the rows themselves are not shown.
_ROWS = ("before", "after", "unavailable")


class LogPart(NamedTuple):
    """A log by its alias, and what of it matches."""

    alias: str
    filtered: FilteredChanges


class ListedLogs:
    """Reads pages of several logs as if they were one.

    Each log is read as if it were shown alone, by time, for as many changes as the page has: what a page
    costs grows with the number of logs, and not with their size. A change that two logs have, such as a gap,
    is there once.

    Args:
        parts: What of each log matches.
    """

    def __init__(self, parts: Sequence[LogPart]) -> None:
        self._parts = parts
        #: The query of the first one, for what is said of one log alone.
        self.first = parts[0].filtered

    def page(
        self, cursor: PageCursor, size: int = SIZE, *, enough: int | None = None, is_light: bool = False
    ) -> Page:
        """Read a page; see :func:`read_page`.

        Args:
            cursor: Where it begins.
            size: The number of changes on it.
            enough: The number of changes with which a search may end before the page is full.
            is_light: Whether the values of rows are not needed.
        """
        if len(self._parts) > 1:
            cursor = self._placed(cursor)
        pages = self._asked(
            partial(self._page_of, cursor=cursor, size=size, enough=enough, is_light=is_light)
        )
        return pages[0] if len(pages) == 1 else self._merged(pages, cursor, size)

    def knows(self, change_id: UUID) -> bool:
        """Return whether an id has a place in the list."""
        return self._place(change_id) is not None

    def first_rows(self, spans: Sequence[Span], most: int) -> list[Change]:
        """Return the first changes of each transaction; see :func:`transaction_spans.rows_of`."""
        read = transaction_spans.rows_of
        return self._once(self._asked(lambda part: list(read(spans, part.filtered.whole, most))))

    def counts(self, spans: Sequence[Span]) -> dict[TransactionName, CountedChanges]:
        """Return how many changes of each kind each transaction has."""
        total: dict[TransactionName, CountedChanges] = {}
        unknown: set[tuple[TransactionName, ChangeKind]] = set()
        for counts in self._asked(lambda part: transaction_spans.counts_of(spans, part.filtered.whole)):
            for name, found in counts.items():
                sums = total.setdefault(name, CountedChanges(Counter(), Counter()))
                sums.changes.update(found.changes)
                sums.rows.update(found.rows)
                unknown |= {(name, kind) for kind in found.changes.keys() - found.rows.keys()}
        for name, kind in unknown:
            del total[name].rows[kind]
        return total

    def of_ids(self, wanted: Collection[UUID]) -> list[Change]:
        """Return changes by their ids."""
        if not wanted:
            return []
        return self._once(self._asked(lambda part: read_changes(part.filtered.whole.filter(pk__in=wanted))))

    def estimate(self) -> int:
        """Return about how many changes match."""
        return sum(self._asked(lambda part: _estimate(part.filtered)))

    def _asked(self, ask: Callable[[LogPart], _T]) -> list[_T]:
        """Return what each log answers, while it is the one that is asked."""
        found = []
        for part in self._parts:
            with destinations.here(part.alias):
                found.append(ask(part))
        return found

    @staticmethod
    def _once(found: Iterable[Iterable[Change]]) -> list[Change]:
        once = {change.pk: change for changes in found for change in changes}
        return sorted(once.values(), key=lambda change: change.pk)

    @staticmethod
    def _page_of(part: LogPart, cursor: PageCursor, size: int, *, enough: int | None, is_light: bool) -> Page:
        filtered = part.filtered
        changes = filtered.changes.defer(*_ROWS) if is_light else filtered.changes
        return read_page(
            changes,
            cursor,
            is_filtered=filtered.is_filtered,
            timeout=filtered.timeout,
            size=size,
            enough=enough,
        )

    def _place(self, change_id: UUID) -> ListPlace | None:
        found = self._asked(lambda _part: order_of_list().place(change_id))
        return next((place for place in found if place is not None), None)

    def _placed(self, cursor: PageCursor) -> PageCursor:
        """Return where a page begins with its time, which one log knows, for the others."""
        if cursor.id is None or cursor.committed_at is not None:
            return cursor
        place = self._place(cursor.id)
        return PageCursor() if place is None else cursor._replace(committed_at=place.committed_at)

    def _merged(self, pages: Sequence[Page], cursor: PageCursor, size: int) -> Page:
        is_newer = cursor.is_newer
        known = {change.pk: change for page in reversed(pages) for change in page.changes}
        merged = sorted(known.values(), key=_place_of, reverse=not is_newer)
        limits = [
            place
            for page in pages
            if page.is_partial and (end := page.newer if is_newer else page.older) is not None
            if (place := self._place(end)) is not None
        ]
        # Beyond where a search ran out of time, a log may have more.
        limit = (min(limits) if is_newer else max(limits)) if limits else None
        if limit is not None:
            merged = [one for one in merged if one.pk == limit.id or is_newer is (_place_of(one) < limit)]
        has_more = len(merged) > size or any(
            not page.is_partial and (page.newer if is_newer else page.older) is not None for page in pages
        )
        found, is_partial = merged[:size], limit is not None and len(merged) <= size
        end = limit.id if limit is not None and is_partial else found[-1].pk if found and has_more else None
        if is_newer:
            found.reverse()
            return Page(found, found[-1].pk if found else cursor.id, end, is_partial)
        start = None if cursor.id is None or cursor.is_first else found[0].pk if found else cursor.id
        return Page(found, end, start, is_partial)


def listed_logs(parameters: QueryDict, form: FilterForm, viewer: Viewer) -> ListedLogs:
    """Return what a list shows with the filters of a form.

    Args:
        parameters: What the form was filled with.
        form: The form, of the log that is shown or, if all are, of the first one.
        viewer: Who sees it.
    """
    if not destinations.are_all_meant():
        return ListedLogs([LogPart(destinations.current(), form.changes())])
    # What names mean, a log may have to say.
    parts = []
    for alias in destinations.meant():
        with destinations.here(alias):
            found = FilterForm(parameters, Viewer(viewer.request, viewer.site)).changes()
            parts.append(LogPart(alias, found))
    return ListedLogs(parts)


def _estimate(filtered: FilteredChanges) -> int:
    return row_estimate.matching(filtered.changes) if filtered.is_filtered else row_estimate.total()


def _place_of(change: Change) -> ListPlace:
    return ListPlace(change.committed_at, change.pk)
