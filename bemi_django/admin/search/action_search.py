"""Pages of actions: the list of changes, grouped by what one transaction, request or run of a task did.

The cost is bounded by the page: of a transaction only the first changes are read, and its end is jumped to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from bemi_django.admin.display.actions.action import (
    SHOWN,
    AuditAction,
    ChangeKind,
    CountedChanges,
    TransactionName,
    kind_of,
    transaction_of,
)
from bemi_django.admin.display.actions.run import ActionRun, run_of
from bemi_django.admin.search import transaction_spans
from bemi_django.admin.search.list_order import ids_of_transaction
from bemi_django.admin.search.logs.listed_logs import ListedLogs
from bemi_django.admin.search.paging import Page, PageCursor
from bemi_django.admin.search.transaction_spans import Span
from bemi_django.models import Change
from bemi_django.wire.ids import sequence_in

#: The number of actions on a page.
SIZE = 25
#: Changes looked at between two jumps over the rest of a transaction.
WINDOW = 100
#: Transactions of a page. One request or run may have any number.
MOST_TRANSACTIONS = 100
#: Time spent on finding actions (seconds), beside that of one search.
BUDGET_SECONDS = 0.5
#: Changes that match, of an action that is too long to be shown.
_MATCHES = 5


class ActionPage(NamedTuple):
    """Actions, newest first; otherwise like ``Page``."""

    actions: list[AuditAction]
    older: UUID | None
    newer: UUID | None
    is_partial: bool


class _FoundSpans:
    """The transactions of a page, in the order in which they were met."""

    def __init__(self) -> None:
        self.spans: dict[int, Span] = {}
        self.matches: dict[int, list[UUID]] = {}
        self._names: set[ActionRun | int] = set()

    def add(self, change: Change) -> bool:
        """Add a change, and return whether there was room for it."""
        sequence = sequence_in(change.pk.bytes)
        span = self.spans.get(sequence)
        if span is None:
            name = run_of(change) or sequence
            if name not in self._names and len(self._names) == SIZE or len(self.spans) == MOST_TRANSACTIONS:
                return False
            self._names.add(name)
            span = Span(sequence, change.committed_at, change.committed_at)
        self.spans[sequence] = Span(
            sequence, min(span.earliest, change.committed_at), max(span.latest, change.committed_at)
        )
        matches = self.matches.setdefault(sequence, [])
        if len(matches) < SHOWN:
            matches.append(change.pk)
        return True


def read_actions(logs: ListedLogs, cursor: PageCursor, latest: Page | None = None) -> ActionPage:
    """Read one page of actions.

    Args:
        logs: The changes of the list. An action has all changes of the transaction of one of these.
        cursor: Where the page begins.
        latest: The changes from there on, if some were read already: a search is not made twice.

    Returns:
        The page; partial if the search ran out of time. A request or run with more transactions than there is
        room for goes on on the next page.
    """
    if cursor.id is not None and cursor.committed_at is None and not logs.knows(cursor.id):
        cursor = PageCursor()
    found, first, last, is_full = _find(logs, cursor, latest)
    spans = list(found.spans.values())
    following = last.newer if cursor.is_newer else last.older
    end: UUID | None = None
    if is_full or following is not None:
        is_inside = following is not None and sequence_in(following.bytes) in found.spans
        end = following if not is_full and not is_inside else _bound(spans[-1], is_newer=cursor.is_newer)
    start = first.older if cursor.is_newer else first.newer
    if start is not None and spans:
        start = _bound(spans[0], is_newer=not cursor.is_newer)
    if cursor.is_newer:
        spans.reverse()
    actions = _actions(spans, logs, found.matches)
    older, newer = (start, end) if cursor.is_newer else (end, start)
    return ActionPage(actions, older, newer, last.is_partial and not is_full)


def _find(logs: ListedLogs, cursor: PageCursor, latest: Page | None) -> tuple[_FoundSpans, Page, Page, bool]:
    """Return what was found, the first and the last page of changes read for it, and whether it is full."""
    deadline = time.monotonic() + BUDGET_SECONDS
    found = _FoundSpans()
    first = page = logs.page(cursor, WINDOW, is_light=True) if latest is None else _window(latest)
    while True:
        changes = page.changes[::-1] if cursor.is_newer else page.changes
        is_full = not all(found.add(change) for change in changes)
        is_end = (page.newer if cursor.is_newer else page.older) is None or page.is_partial
        if is_full or is_end or time.monotonic() > deadline:
            return found, first, page, is_full
        *_others, span = found.spans.values()
        place = PageCursor(
            _bound(span, is_newer=cursor.is_newer), cursor.is_newer, committed_at=changes[-1].committed_at
        )
        page = logs.page(place, WINDOW, is_light=True)


def _window(latest: Page) -> Page:
    """Return the changes of a page, only as many as a window has if its search was not ended."""
    if not latest.is_partial or len(latest.changes) < WINDOW:
        return latest
    changes = latest.changes[:WINDOW]
    return latest._replace(changes=changes, older=changes[-1].pk, is_partial=False)


def _bound(span: Span, *, is_newer: bool) -> UUID:
    """Return the id beyond which a page has nothing more of a transaction."""
    return ids_of_transaction(span.sequence)[is_newer]


def _actions(spans: Sequence[Span], logs: ListedLogs, matches: dict[int, list[UUID]]) -> list[AuditAction]:
    by_name: dict[TransactionName, list[Change]] = {}
    for change in logs.first_rows(spans, SHOWN + 1):
        by_name.setdefault(transaction_of(change), []).append(change)
    long = {name.sequence for name, changes in by_name.items() if len(changes) > SHOWN}
    counts = logs.counts([span for span in spans if span.sequence in long])
    if logs.first.is_narrowed:
        wanted = {found for sequence in long for found in matches[sequence][:_MATCHES]}
        wanted -= {change.pk for changes in by_name.values() for change in changes}
        for change in logs.of_ids(wanted):
            # The rows of another transaction that shares its sequence number may have been all that was read.
            by_name.setdefault(transaction_of(change), []).append(change)
    place = {span.sequence: number for number, span in enumerate(spans)}
    groups: dict[ActionRun | TransactionName, list[TransactionName]] = {}
    for name in sorted(by_name, key=lambda name: place[name.sequence]):
        run = next(filter(None, map(run_of, by_name[name])), None)
        groups.setdefault(run or name, []).append(name)
    known = {found for some in matches.values() for found in some} if logs.first.is_narrowed else set()
    return [_action(names, by_name, counts, known) for names in groups.values()]


def _action(
    names: list[TransactionName],
    by_name: dict[TransactionName, list[Change]],
    counts: dict[TransactionName, CountedChanges],
    known: set[UUID],
) -> AuditAction:
    total: Counter[ChangeKind] = Counter()
    is_cut = False
    for name in reversed(names):
        found = counts[name].changes if name in counts else Counter(map(kind_of, by_name[name]))
        is_cut = is_cut or sum(found.values()) > transaction_spans.MOST_COUNTED
        total += found
    changes = [change for name in reversed(names) for change in sorted(by_name[name], key=attrgetter("pk"))]
    matches = {change.pk for change in changes if change.pk in known}
    # What was searched for is shown first, the rest as far as there is room.
    chosen = sorted(changes, key=lambda change: change.pk not in matches)[:SHOWN]
    kept = {change.pk for change in chosen}
    shown = [change for change in changes if change.pk in kept]
    # Where all of them match, there is nothing to mark.
    marked = frozenset(matches) if len(matches) < sum(total.values()) else frozenset()
    # Several transactions may have changed the same rows.
    rows = counts[names[0]].rows if len(names) == 1 and names[0] in counts else {}
    return AuditAction(shown, total, is_cut, len(names), rows, marked)
