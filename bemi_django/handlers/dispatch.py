"""The loop that calls handlers with new changes of the log, until it is stopped."""

from __future__ import annotations

import logging
import math
import time

from django.db import DatabaseError, InterfaceError, connections, transaction

from bemi_django import conf
from bemi_django.exceptions import (
    BemiError,
    NotInstalled,
    ParametersUnavailable,
    Refused,
    first_line,
    of_parameters,
    sqlstate_of,
)
from bemi_django.handlers import registry
from bemi_django.handlers.bookmarks import Bookmarks
from bemi_django.handlers.delivery import Delivery, refresh_connections
from bemi_django.handlers.log_history import LogHistory, SourceLog
from bemi_django.handlers.loop_thread import LoopInThread
from bemi_django.handlers.registry import Handler
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.handlers.standing import COUNT_TO, RetriedDeliveries, Standing
from bemi_django.ingest.error_advice import is_lasting_state, of_connection, told
from bemi_django.ingest.refusal import with_state
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.models import Undelivered

logger = logging.getLogger(__name__)

_UNDEFINED_TABLE = "42P01"


class Dispatcher(LoopInThread):
    """Runs the handlers of one database; ``stop()`` may be called from a signal handler.

    Several processes can run one each and share the handlers: a handler is run by one of them at a time.
    """

    def __init__(self, alias: str, served: list[Handler] | None = None, rhythm: Rhythm | None = None) -> None:
        super().__init__(rhythm or Rhythm())
        self._alias = alias
        self._served = registry.of_database(alias) if served is None else served
        # Those that people add and remove while the process runs, which are looked for now and then.
        self._has_changing = served is None and registry.are_changing()
        self._renewed_at = -math.inf
        self._deliveries: list[Delivery] = []
        self._log = SourceLog(alias)
        self._earlier = 0
        self._was_there_no_log = False
        self._said, self._said_at = 0, time.monotonic()

    @property
    def has_handlers(self) -> bool:
        """Whether there is any handler to run."""
        return bool(self._served) or self._has_changing

    @property
    def handled(self) -> int:
        """The number of changes handled so far."""
        return self._earlier + sum(delivery.handled for delivery in self._deliveries)

    def run(self, until_current: bool = False) -> int:
        """Run until stopped and return the number of changes handled.

        Args:
            until_current: Stop when the handlers have all changes that the log has now.

        Raises:
            BemiError: A configuration or privilege is missing, so trying again would not help.
        """
        pace = Timeouts()
        pause, deadline = pace.first_pause, time.monotonic() + pace.patience
        target = 0
        try:
            while not self._stop.is_set():
                try:
                    history = self._log.history()
                    target = target or (history.end if history else 0)
                    is_more = self._round(history)
                    pause = pace.first_pause
                except Exception as error:
                    unknown = of_parameters(error)
                    if unknown is None and not isinstance(error, (DatabaseError, InterfaceError)):
                        raise
                    self._recover(
                        unknown or error, pause, is_final=until_current and time.monotonic() > deadline
                    )
                    pause = min(pause * 2, pace.longest_pause)
                    continue
                self._tell()
                if is_more:
                    continue
                # Without a handler, there may be alert rules later.
                if until_current and (history is None or self._has_reached(target)):
                    break
                self._stop.wait(self._rhythm.look)
            for delivery in self._deliveries:
                delivery.note()
        finally:
            # The connections of this thread.
            connections.close_all()
        return self.handled

    def retry(self) -> RetriedDeliveries:
        """Deliver the undelivered changes once more."""
        self._open()
        destination = conf.destination()
        by_name = {delivery.handler.name: delivery for delivery in self._deliveries}
        letters = Undelivered.objects.using(destination).filter(handler__in=by_name)
        delivered = 0
        for pk in list(letters.values_list("pk", flat=True)):
            with transaction.atomic(using=destination):
                letter = letters.select_for_update(skip_locked=True).filter(pk=pk).first()
                delivered += letter is not None and by_name[letter.handler].attempts.retry(letter)
        return RetriedDeliveries(delivered, letters.count())

    def standings(self) -> list[Standing]:
        """Return the progress of each handler."""
        self._open()
        history = self._log.history()
        return [self._standing(delivery, history) for delivery in self._deliveries]

    def _standing(self, delivery: Delivery, history: LogHistory | None) -> Standing:
        aside = Undelivered.objects.using(conf.destination()).filter(handler=delivery.handler.name).count()
        at = delivery.pending(history, COUNT_TO) if history else (0, 0.0, 0, 0.0)
        return Standing(delivery.handler, *at, aside)

    def _begin_again(self) -> None:
        self._earlier, self._deliveries, self._renewed_at = self.handled, [], -math.inf

    def _open(self) -> None:
        if not self._deliveries:
            self._deliveries = [self._delivery(handler) for handler in self._served]
        if self._has_changing and time.monotonic() > self._renewed_at + self._rhythm.renew:
            self._renew()

    def _delivery(self, handler: Handler) -> Delivery:
        return Delivery(handler, self._alias, self._rhythm, self._stop.is_set)

    def _renew(self) -> None:
        """Begin to serve handlers that were added or altered, and end to serve those that were removed."""
        wanted = registry.changing(self._alias)
        served = {delivery.handler.name: delivery for delivery in self._deliveries}
        kept = [served[handler.name] for handler in self._served]
        for handler in wanted:
            known = served.get(handler.name)
            # What a handler does tells whether it is the same: the tuple has functions made for it.
            is_same = known is not None and known.handler.function == handler.function
            kept.append(known if known is not None and is_same else self._delivery(handler))
        self._earlier += sum(delivery.handled for delivery in self._deliveries if delivery not in kept)
        self._deliveries, self._renewed_at = kept, time.monotonic()

    def _round(self, history: LogHistory | None) -> bool:
        """Let each handler take a step; return whether one of them has more to do right now."""
        before, renewed_at = [delivery.handler.name for delivery in self._deliveries], self._renewed_at
        self._open()
        names = [delivery.handler.name for delivery in self._deliveries]
        if names != before:
            logger.info("calling handlers of changes of %s: %s", self._alias, ", ".join(names) or "none")
        if self._renewed_at > renewed_at:
            Bookmarks.remove(registry.CHANGING, names)
        if history is None:
            self._was_there_no_log = True
            return False
        is_more = False
        for delivery in self._deliveries:
            if not self._stop.is_set():
                is_more |= delivery.step(history, from_start=self._was_there_no_log)
        return is_more

    def _has_reached(self, target: float) -> bool:
        return all(delivery.reached >= target for delivery in self._deliveries)

    def _recover(self, error: Exception, pause: float, is_final: bool) -> None:
        for delivery in self._deliveries:
            delivery.be_careful()
        refused = self._refusal(error)
        if refused is not None or is_final:
            raise refused or error
        logger.warning("%s; trying again in %.1f s", told(error), pause)
        refresh_connections()
        self._stop.wait(pause)

    def _refusal(self, error: Exception) -> BemiError | None:
        """Return the error to raise if trying again would not help, or else None."""
        destination = conf.destination()
        state = sqlstate_of(error)
        if state == _UNDEFINED_TABLE:
            return NotInstalled(
                f"{first_line(error)}: run 'manage.py migrate bemi_django' (--database {destination})"
            )
        if state:
            if not is_lasting_state(state):
                return None
            remedy = (
                "run the SQL that 'manage.py bemi grants --handlers ROLE' prints, or 'bemi run --no-handlers'"
            )
            return Refused(f"{first_line(error)}: {remedy}")
        try:
            parameters = conf.connection_parameters(destination)
        except ParametersUnavailable:
            return None
        return of_connection(with_state(error, parameters), parameters)

    def _tell(self) -> None:
        """Log what was done since the last line, at most once a second."""
        now, handled = time.monotonic(), self.handled
        if handled > self._said and now > self._said_at + 1:
            rate = (handled - self._said) / (now - self._said_at)
            logger.info("%s changes handled (%.0f/s), %s in all", handled - self._said, rate, handled)
            self._said, self._said_at = handled, now
