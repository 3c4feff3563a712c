"""Call one handler with changes, and keep those aside that it fails on again and again."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import transaction

from bemi_django import conf
from bemi_django.capture.context import bound_context
from bemi_django.handlers.bookmarks import Bookmark, Bookmarks
from bemi_django.handlers.failures import origin_of, reason_of
from bemi_django.handlers.feed import UNREADABLE
from bemi_django.handlers.registry import Handler
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.models import Change, Undelivered
from bemi_django.schema import tenancy

logger = logging.getLogger(__name__)


class Attempts:
    """Calls one handler, and says where its bookmark is after a failure.

    Args:
        handler: The handler.
        alias: Alias of the source.
        bookmarks: Stores the changes that are kept aside.
        rhythm: The pauses between attempts.
    """

    def __init__(self, handler: Handler, alias: str, bookmarks: Bookmarks, rhythm: Rhythm) -> None:
        self._handler = handler
        self._alias = alias
        self._destination = conf.destination()
        self._bookmarks = bookmarks
        self._rhythm = rhythm

    def call(self, change: Change) -> BaseException | None:
        """Call the handler in a savepoint; return why it failed, or None."""
        context = bound_context(handler=self._handler.name, caused_by=str(change.pk))
        tenant = tenancy.in_schema(self._alias, change.schema)
        try:
            # The savepoint discards what a failed attempt wrote.
            with tenant, transaction.atomic(using=self._destination), context:
                self._handler.function(change)
        except (Exception, SystemExit) as error:
            return error
        return None

    def after(self, failure: BaseException, change: UUID, bookmark: Bookmark) -> Bookmark:
        """Return the bookmark after a failed attempt: a pause before the next one, or the next change."""
        name, what = self._handler.name, origin_of(failure)
        if bookmark.attempts > self._handler.retries:
            return self.keep_aside(bookmark, change, reason_of(failure))
        pause = min(self._rhythm.first_pause * 2 ** (bookmark.attempts - 1), self._rhythm.longest_pause)
        logger.warning(
            "%s failed on the change %s (%s), attempt %d; trying again in %.1f s",
            *(name, change, what, bookmark.attempts, pause),
        )
        return bookmark._replace(pause=pause)

    def keep_aside(self, bookmark: Bookmark, change: UUID, reason: str) -> Bookmark:
        """Keep a change as undelivered, and return the bookmark after it."""
        self._bookmarks.keep_aside(change, bookmark.attempts, reason)
        logger.error(
            "%s failed on the change %s for the last time; the change is kept in _bemi.undelivered",
            *(self._handler.name, change),
        )
        return bookmark._replace(last=change, attempts=0)

    def retry(self, letter: Undelivered) -> bool:
        """Deliver an undelivered change once more; return whether it was handled."""
        change: Change | None = None
        try:
            change = Change.objects.using(self._destination).filter(pk=letter.change_id).first()
            failure = None if change is None else self.call(change)
        except UNREADABLE as error:
            failure = error
        if change is None or failure is not None:
            letter.attempts += 1
            letter.reason = "the log no longer has the change" if failure is None else reason_of(failure)
            letter.save(using=self._destination)
            return False
        letter.delete(using=self._destination)
        return True
