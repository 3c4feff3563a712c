"""Hand changes to one handler: at least once, in order, in one transaction with how far it is."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from django.db import connections, transaction

from bemi_django import conf
from bemi_django.capture.context import bound_context
from bemi_django.handlers.feed import FIRST, LAST, Feed, FeedSpan, place, place_before, place_of_gap
from bemi_django.handlers.positions import LogHistory, Position, Positions
from bemi_django.handlers.registry import Handler
from bemi_django.models import Change, Undelivered

logger = logging.getLogger(__name__)

_CRASHED = "the process ended, or lost the database, while the change was handled"
_REASON_CHARACTERS = 1000


class Rhythm(NamedTuple):
    """Seconds, and changes."""

    #: Before the second attempt; each further pause is twice as long.
    first_pause: float = 1.0
    longest_pause: float = 300.0
    #: Between two looks at how far the log is: one row by its key.
    look: float = 0.1
    #: That a transaction goes on to the next change.
    slice: float = 0.2
    #: Changes of one transaction.
    batch: int = 100
    #: Between two notes of how far a handler has looked in vain.
    note: float = 10.0
    #: That a handler has to end once the process was told to stop.
    grace: float = 5.0


class Delivery:
    """What one handler has coming; each ``step()`` is a transaction or two of the log's database."""

    def __init__(self, handler: Handler, alias: str, rhythm: Rhythm, stopping: Callable[[], bool]) -> None:
        self.handler = handler
        self._destination = conf.destination()
        self._positions = Positions(self._destination, conf.slot(alias), handler.name)
        self._feed = Feed(handler, alias)
        self._rhythm = rhythm
        self._is_stopping = stopping
        self._through: LogHistory | None = None
        self._looked: Position | None = None
        self._noted_at = time.monotonic()
        self._resting_until = 0.0
        self.handled = 0
        self.be_careful()

    def be_careful(self) -> None:
        """Hand over the next changes one by one, each attempt counted before it is made.

        One of them may have ended the last process.
        """
        self._careful = self._rhythm.batch
        self._through = None

    @property
    def reached(self) -> int:
        """The LSN up to which nothing is left."""
        return self._through.end if self._through else 0

    def step(self, history: LogHistory, *, from_start: bool = False) -> bool:
        """Hand over some changes; tell whether there may be more right now.

        ``from_start``: a new handler begins where the log does.
        """
        if self._through == history or time.monotonic() < self._resting_until:
            return False
        if not self._careful:
            return self._hand_over(history, from_start, self._rhythm.batch)
        return self._count_attempt(history, from_start) and self._hand_over(history, from_start, 1)

    def note(self) -> None:
        """Remember how far the handler has looked in vain: the next process need not."""
        with transaction.atomic(using=self._destination):
            position = self._positions.read() if self._positions.lock() else None
            if position is not None and self._through is not None:
                self._note(position, self._through)

    def pending(self, history: LogHistory, limit: int) -> tuple[int, int, float]:
        """Changes left (counts to ``limit``), attempts at the next one, seconds until it is tried."""
        position = self._positions.read() or self._begin(history, from_start=False)
        left = self._feed.of(self._ahead(position, history))[:limit].count()
        return left, position.attempts, position.pause

    def retry(self, letter: Undelivered) -> bool:
        """Hand over a change that was kept aside; tell whether it was handled."""
        change = Change.objects.using(self._destination).filter(pk=letter.change_id).first()
        failure = None if change is None else self._call(change)
        if change is None or failure is not None:
            letter.attempts += 1
            letter.reason = "the change is not in the log any more" if failure is None else _reason(failure)
            letter.save(using=self._destination)
            return False
        letter.delete(using=self._destination)
        return True

    def _count_attempt(self, history: LogHistory, from_start: bool) -> bool:
        with transaction.atomic(using=self._destination):
            position = self._take(history, from_start)
            if position is None:
                return False
            ids = self._next(position, history, 1)
            if not ids:
                return self._rest_at_end(position, history)
            attempts = position.attempts + 1
            if attempts > self.handler.retries + 1:
                self._positions.save(self._keep_aside(position, ids[0], _CRASHED))
                return False
            self._positions.save(position._replace(attempts=attempts))
        return True

    def _hand_over(self, history: LogHistory, from_start: bool, limit: int) -> bool:
        ends_at = time.monotonic() + self._rhythm.slice
        failure: BaseException | None = None
        with transaction.atomic(using=self._destination):
            position = self._take(history, from_start)
            if position is None:
                return False
            ids = self._next(position, history, limit)
            if not ids:
                return self._rest_at_end(position, history)
            is_counted = limit == 1 and position.attempts > 0
            for change in self._feed.read(ids):
                failure = self._call(change)
                if failure is not None:
                    attempts = position.attempts + (not is_counted)
                    position = self._after(failure, change, position._replace(attempts=attempts))
                    break
                position, is_counted = position._replace(last=change.pk, attempts=0), False
                self.handled += 1
                if self._is_stopping() or time.monotonic() > ends_at:
                    break
            self._positions.save(position)
        self._careful = max(self._careful - 1, 0)
        self._resting_until = time.monotonic() + position.pause
        if failure is not None:
            refresh_connections()
        return position.pause <= 0

    def _take(self, history: LogHistory, from_start: bool) -> Position | None:
        """Where the handler is, in this transaction ours alone; None while there is nothing for us to do."""
        if not self._positions.lock():
            self._resting_until = time.monotonic() + self._rhythm.look
            return None
        position = self._positions.read()
        if position is None:
            position = self._begin(history, from_start)
            self._positions.save(position)
        if position.pause > 0:
            self._resting_until = time.monotonic() + position.pause
            return None
        if position.system_identifier == history.system_identifier and position.start != history.start:
            # The log may have gone back with its server: what comes may lie before what was.
            last = min(position.last, place_of_gap(history.start))
            position = position._replace(start=history.start, last=last)
            self._positions.save(position)
        return position

    def _begin(self, history: LogHistory, from_start: bool) -> Position:
        since = self.handler.since
        if since == "beginning":
            last = FIRST
        elif since is not None:
            whole = FeedSpan(history.system_identifier, FIRST, place(history.end))
            first = self._feed.of(whole).filter(committed_at__gte=since).first()
            last = place_before(first) if first else place(history.end)
        else:
            last = place(history.start if from_start else history.end)
        return Position(history.system_identifier, history.start, last)

    def _next(self, position: Position, history: LogHistory, limit: int) -> list[UUID]:
        ahead = self._feed.of(self._ahead(position, history))
        return list(ahead.values_list("pk", flat=True)[:limit])

    def _ahead(self, position: Position, history: LogHistory) -> FeedSpan:
        """Where to look for what is next."""
        last, looked = position.last, self._looked
        if looked is not None and looked[:2] == position[:2]:
            last = max(last, looked.last)
        is_present = position.system_identifier == history.system_identifier
        return FeedSpan(position.system_identifier, last, place(history.end) if is_present else LAST)

    def _rest_at_end(self, position: Position, history: LogHistory) -> bool:
        """Nothing is left, of this server: tell whether there is another one."""
        if position.system_identifier != history.system_identifier:
            last = place_of_gap(history.start)
            self._positions.save(Position(history.system_identifier, history.start, last))
            return True
        self._through = history
        self._looked = position._replace(last=max(position.last, place(history.end)))
        # Not for each change of another table: every note is WAL.
        if time.monotonic() > self._noted_at + self._rhythm.note:
            self._note(position, history)
        return False

    def _note(self, position: Position, history: LogHistory) -> None:
        self._noted_at = time.monotonic()
        end = place(history.end)
        # Where nothing was recorded there is nothing to pass by.
        if self._feed.has_passed(FeedSpan(position.system_identifier, position.last, end)):
            self._positions.save(position._replace(last=end))

    def _call(self, change: Change) -> BaseException | None:
        context = bound_context(handler=self.handler.name, caused_by=str(change.pk))
        try:
            # What a failed attempt wrote is taken back.
            with transaction.atomic(using=self._destination), context:
                self.handler.function(change)
        except (Exception, SystemExit) as error:
            return error
        return None

    def _after(self, failure: BaseException, change: Change, position: Position) -> Position:
        name, what = self.handler.name, _place(failure)
        if position.attempts > self.handler.retries:
            return self._keep_aside(position, change.pk, _reason(failure))
        pause = min(self._rhythm.first_pause * 2 ** (position.attempts - 1), self._rhythm.longest_pause)
        logger.warning(
            "%s failed on the change %s (%s), attempt %d; trying again in %.1f s",
            *(name, change.pk, what, position.attempts, pause),
        )
        return position._replace(pause=pause)

    def _keep_aside(self, position: Position, change: UUID, reason: str) -> Position:
        self._positions.keep_aside(change, position.attempts, reason)
        logger.error(
            "%s failed on the change %s for the last time; it is kept in _bemi_undelivered",
            *(self.handler.name, change),
        )
        return position._replace(last=change, attempts=0)


def refresh_connections() -> None:
    """Close those that are broken, so that the next attempt has new ones."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _place(error: BaseException) -> str:
    """What to say in a log, where no value of a row may be."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _reason(error: BaseException) -> str:
    return f"{_place(error)}: {error}".replace("\0", "")[:_REASON_CHARACTERS]
