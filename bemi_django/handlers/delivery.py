"""Deliver changes to one handler: at least once, in order, in one transaction with its bookmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from django.db import connections, transaction

from bemi_django import conf
from bemi_django.handlers.attempts import Attempts
from bemi_django.handlers.bookmarks import Bookmark, Bookmarks
from bemi_django.handlers.failures import CRASHED
from bemi_django.handlers.feed import (
    FIRST,
    LAST,
    Feed,
    FeedSpan,
    UnreadableChange,
    id_before,
    id_before_change,
    id_before_gap,
)
from bemi_django.handlers.log_history import LogHistory
from bemi_django.handlers.registry import Handler
from bemi_django.handlers.rhythm import Rhythm


class Delivery:
    """Calls one handler; each ``step()`` is one or two transactions in the database of the log."""

    def __init__(self, handler: Handler, alias: str, rhythm: Rhythm, stopping: Callable[[], bool]) -> None:
        self.handler = handler
        self._destination = conf.destination()
        self._bookmarks = Bookmarks(alias, handler.name)
        self._feed = Feed(handler, alias)
        self.attempts = Attempts(handler, alias, self._bookmarks, rhythm)
        self._rhythm = rhythm
        self._is_stopping = stopping
        self._through: LogHistory | None = None
        self._looked: Bookmark | None = None
        self._noted_at = time.monotonic()
        self._resting_until = 0.0
        self.handled = 0
        self.be_careful()

    def be_careful(self) -> None:
        """Deliver the next changes one at a time, counting each attempt before it is made.

        One of them may have ended the previous process.
        """
        self._careful = self._rhythm.batch
        self._through = None

    @property
    def reached(self) -> int:
        """The LSN up to which all changes are handled."""
        return self._through.end if self._through else 0

    def step(self, history: LogHistory, *, from_start: bool = False) -> bool:
        """Deliver some changes; return whether there may be more right now.

        Args:
            history: The current history of the log.
            from_start: Whether a new handler begins at the start of the history.
        """
        if self._through == history or time.monotonic() < self._resting_until:
            return False
        if not self._careful:
            return self._hand_over(history, from_start, self._rhythm.batch)
        return self._count_attempt(history, from_start) and self._hand_over(history, from_start, 1)

    def note(self) -> None:
        """Save the position up to which the handler has found nothing, so that the next one starts there."""
        with transaction.atomic(using=self._destination):
            bookmark = self._bookmarks.read() if self._bookmarks.lock() else None
            if bookmark is not None and self._through is not None:
                self._note(bookmark, self._through)

    def pending(self, history: LogHistory, limit: int) -> tuple[int, float, int, float]:
        """Return changes left (at most ``limit``), seconds without any, attempts, and the next pause."""
        bookmark = self._bookmarks.read() or self._begin(history, from_start=False)
        span = self._ahead(bookmark, history)
        left = self._feed.of(span)[:limit].count()
        waited = min(self._feed.age(span), self._bookmarks.age) if left else 0.0
        return left, waited, bookmark.attempts, bookmark.pause

    def _count_attempt(self, history: LogHistory, from_start: bool) -> bool:
        with transaction.atomic(using=self._destination):
            bookmark = self._take(history, from_start)
            if bookmark is None:
                return False
            ids = self._next(bookmark, history, 1)
            if not ids:
                return self._rest_at_end(bookmark, history)
            attempts = bookmark.attempts + 1
            if attempts > self.handler.retries + 1:
                self._bookmarks.save(self.attempts.keep_aside(bookmark, ids[0], CRASHED))
                return False
            self._bookmarks.save(bookmark._replace(attempts=attempts))
        return True

    def _hand_over(self, history: LogHistory, from_start: bool, limit: int) -> bool:
        ends_at = time.monotonic() + self._rhythm.slice
        failure: BaseException | None = None
        with transaction.atomic(using=self._destination):
            bookmark = self._take(history, from_start)
            if bookmark is None:
                return False
            ids = self._next(bookmark, history, limit)
            if not ids:
                return self._rest_at_end(bookmark, history)
            is_counted = limit == 1 and bookmark.attempts > 0
            for change in self._feed.read(ids):
                failure = change.error if isinstance(change, UnreadableChange) else self.attempts.call(change)
                if failure is not None:
                    attempts = bookmark.attempts + (not is_counted)
                    bookmark = self.attempts.after(failure, change.pk, bookmark._replace(attempts=attempts))
                    break
                bookmark, is_counted = bookmark._replace(last=change.pk, attempts=0), False
                self.handled += 1
                if self._is_stopping() or time.monotonic() > ends_at:
                    break
            self._bookmarks.save(bookmark)
        self._careful = max(self._careful - 1, 0)
        self._resting_until = time.monotonic() + bookmark.pause
        if failure is not None:
            refresh_connections()
        return bookmark.pause <= 0

    def _take(self, history: LogHistory, from_start: bool) -> Bookmark | None:
        """Lock the handler and return its bookmark, or None while there is nothing to do."""
        if not self._bookmarks.lock():
            self._resting_until = time.monotonic() + self._rhythm.look
            return None
        bookmark = self._bookmarks.read()
        if bookmark is None:
            bookmark = self._begin(history, from_start)
            self._bookmarks.save(bookmark)
        if bookmark.pause > 0:
            self._resting_until = time.monotonic() + bookmark.pause
            return None
        if bookmark.system_identifier == history.system_identifier and bookmark.start != history.start:
            bookmark = bookmark._replace(start=history.start)
            self._bookmarks.save(bookmark)
        return bookmark

    def _begin(self, history: LogHistory, from_start: bool) -> Bookmark:
        since = self.handler.since
        if since == "beginning":
            last = FIRST
        elif since is not None:
            whole = FeedSpan(history.system_identifier, FIRST, id_before(history.end))
            first = self._feed.of(whole).filter(committed_at__gte=since).first()
            last = id_before_change(first) if first else id_before(history.end)
        else:
            last = id_before(history.start if from_start else history.end)
        return Bookmark(history.system_identifier, history.start, last)

    def _next(self, bookmark: Bookmark, history: LogHistory, limit: int) -> list[UUID]:
        ahead = self._feed.of(self._ahead(bookmark, history))
        return list(ahead.values_list("pk", flat=True)[:limit])

    def _ahead(self, bookmark: Bookmark, history: LogHistory) -> FeedSpan:
        """Return the span in which the next change is."""
        last, looked = bookmark.last, self._looked
        if looked is not None and looked[:2] == bookmark[:2]:
            last = max(last, looked.last)
        is_present = bookmark.system_identifier == history.system_identifier
        return FeedSpan(bookmark.system_identifier, last, id_before(history.end) if is_present else LAST)

    def _rest_at_end(self, bookmark: Bookmark, history: LogHistory) -> bool:
        """Note that nothing is left of this server; return whether another one continues the log."""
        if bookmark.system_identifier != history.system_identifier:
            last = id_before_gap(history.start)
            self._bookmarks.save(Bookmark(history.system_identifier, history.start, last))
            return True
        self._through = history
        self._looked = bookmark._replace(last=max(bookmark.last, id_before(history.end)))
        # Not for each change of another table, because every saved bookmark is WAL.
        if time.monotonic() > self._noted_at + self._rhythm.note:
            self._note(bookmark, history)
        return False

    def _note(self, bookmark: Bookmark, history: LogHistory) -> None:
        self._noted_at = time.monotonic()
        end = id_before(history.end)
        # If nothing was recorded, there is nothing to skip.
        if self._feed.has_passed(FeedSpan(bookmark.system_identifier, bookmark.last, end)):
            self._bookmarks.save(bookmark._replace(last=end))


def refresh_connections() -> None:
    """Close broken connections, so that the next attempt opens new ones."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
