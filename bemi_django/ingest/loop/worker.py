"""One session of the worker: open its connections, stream until told to stop, and close them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import psycopg2
import psycopg2.errors

from bemi_django.exceptions import SinkUnavailable, Superseded, Unsendable, first_line
from bemi_django.ingest import error_advice
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.loop.assembly import assemble
from bemi_django.ingest.loop.idle_slot import IdleSlot
from bemi_django.ingest.loop.interpreter import tuned_interpreter
from bemi_django.ingest.loop.obstacle import Obstacle
from bemi_django.ingest.pipeline import Source
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.rows.nested.window import meanwhile
from bemi_django.ingest.shortages import Shortages
from bemi_django.ingest.stream.session import Session
from bemi_django.ingest.timeouts import Timeouts

#: Messages that are read between two looks at the clock: they take some milliseconds.
_MESSAGES = 1000
#: Seconds between two looks at whether the server shuts down.
_GLANCE = 1.0
#: Bytes of a message that is written before the next one is read, so that memory holds one of them.
_ALONE = 16 * 1024 * 1024


@contextmanager
def advised() -> Iterator[None]:
    """Turn errors that trying again does not mend into those that say what to do."""
    try:
        yield
    except psycopg2.errors.UniqueViolation as error:
        # Changes have the same ids whoever writes them.
        raise Superseded from error
    except psycopg2.Error as error:
        if (refused := error_advice.of_statement(error)) is None:
            raise
        raise refused from error


class Worker:
    """Reads the stream of one slot into the log; the first :meth:`run` connects.

    :meth:`stop` and :meth:`abandon` may be called from other threads.
    """

    def __init__(
        self,
        config: WorkerConfig,
        progress: Progress,
        timeouts: Timeouts | None = None,
        obstacle: Obstacle | None = None,
        shortages: Shortages | None = None,
    ) -> None:
        timeouts = timeouts or Timeouts()
        self._obstacle = obstacle or Obstacle()
        self._shortages = shortages or Shortages()
        self._config = config
        self._progress = progress
        self._idle = timeouts.idle
        self._patience = timeouts.patience
        #: Whether the stream has begun.
        self.has_streamed = False
        #: The number of messages that were read.
        self.activity = 0
        self._session = Session(config, timeouts)
        self.abandon = self._session.abandon
        self.close = self._session.close
        self._is_stopping = False
        self._glance_at = 0.0

    def run(self, until_current: bool = False) -> None:
        """Write changes to the log until :meth:`stop` is called.

        Args:
            until_current: Return when everything that is in the WAL now is in the log.

        Raises:
            BemiError: An administrator has to do something, or another worker has taken over.
            psycopg2.Error: A failure that may pass.
        """
        # The server must not give us up while this thread renders a large row.
        former = meanwhile.set(self._hold_stream)
        with tuned_interpreter(), advised(), self._answered():
            try:
                self._open_and_work(until_current)
            except SinkUnavailable as error:
                self._note_trouble(str(error))
                raise
            finally:
                meanwhile.reset(former)

    def stop(self) -> None:
        """Finish the batch and return from :meth:`run`."""
        self._is_stopping = True

    def _open(self, limit: float) -> None:
        session = self._session
        session.open(limit)
        self._source: Source = session.source
        assembled = assemble(
            session,
            self._config,
            self._progress,
            self._shortages,
            self._hold_stream,
            self._keep_alive,
            self._note_trouble,
        )
        self.has_streamed = True
        self._writer, self._sink, self._committer, self._transactions, self._intake = assembled
        self._idle_slot = IdleSlot(session, self._sink, self._committer, self._idle)

    def _open_and_work(self, until_current: bool) -> None:
        if not self._session.is_open:
            self._open(self._patience if until_current else 0.0)
        try:
            self._work(until_current)
        except psycopg2.Error:
            self._committer.salvage()
            raise
        except Unsendable as error:
            raise self._judged(error) from error

    def _note_trouble(self, trouble: str) -> None:
        """Keep what an operator should know; there may be no destination: for a queue, and at the start."""
        if self._session.destination is None:
            return
        with suppress(psycopg2.Error):
            self._session.destination.rollback()
            Checkpoints(self._session.destination, self._session.slot).note_trouble(trouble)

    def _judged(self, error: Unsendable) -> Unsendable:
        """Write what committed before a transaction that cannot be sent; return the error, with its place."""
        self._committer.save()
        current = self._transactions.current
        lsn = None if current is None else current.begin.commit_lsn
        judged = self._obstacle.meet(Unsendable(first_line(error), lsn), self._sink.checkpoint)
        if judged.is_stuck:
            # Rows of the transaction itself may be there.
            self._session.destination.rollback()
            Checkpoints(self._session.destination, self._session.slot).note_trouble(str(judged))
        return judged

    def _work(self, until_current: bool) -> None:
        target = self._mark()
        while not self._is_stopping:
            if time.monotonic() >= self._glance_at:
                self._glance_at_server()
            self._session.report()
            self._committer.confirm()
            self._sink.keep_alive()
            if self._take_some():
                continue
            if not self._sink.in_flight:
                # What arrives in the meantime goes with the next batch.
                self._committer.send()
            if until_current and target not in self._transactions.marks:
                break
            self._committer.log_progress(is_caught_up=True)
            if self._transactions.current is None:
                self._idle_slot.look()
            self._wait()
        self._committer.finish()

    def _take_some(self) -> bool:
        """Take the messages that are there; return True if there may be more, and it is time for a look."""
        source, take = self._source, self._intake.take
        count = 0
        for data in islice(self._session.messages(), _MESSAGES):
            take(data, source.message_lsn)
            is_alone = len(data) >= _ALONE
            # It may be large, and must not be held while the next one is read.
            del data
            count += 1
            if is_alone:
                self._committer.settle()
        self.activity += count
        return count == _MESSAGES

    def _wait(self) -> None:
        """Sleep until a message, a written batch or the end of the server is there."""
        readable = self._source.wait(min(0.5, self._idle), self._session.server, self._sink)
        if self._session.server in readable:
            self._glance_at = 0.0
        if self._sink in readable:
            self._committer.settle(self._sink.in_flight - 1)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Say which server does not answer, if that is the reason of an error."""
        try:
            yield
        except psycopg2.Error as error:
            if not (silent := self._session.silent):
                raise
            self._progress.counts["servers that did not answer"] += 1
            raise psycopg2.OperationalError(f"the {silent} does not answer") from error

    def _hold_stream(self) -> None:
        """Keep the source from giving us up while the destination is waited for, unless it shuts down."""
        # Who reads the stream next notices that it has ended.
        with suppress(psycopg2.Error):
            if not self._source.wait(0, self._session.server):
                self._source.heartbeat()

    def _keep_alive(self) -> bool:
        """Keep both databases from giving us up while something is waited for; return whether to go on."""
        self._source.heartbeat()
        self._sink.keep_alive()
        return not self._is_stopping

    def _glance_at_server(self) -> None:
        """Notice a server that shuts down and waits for us to leave: only its other connection tells."""
        self._glance_at = time.monotonic() + _GLANCE
        if self._session.server in self._source.wait(0, self._session.server):
            self._session.ask("SELECT 1")

    def _mark(self) -> bytes:
        """Write a message to the WAL that comes back when all before it was read."""
        mark = uuid.uuid4().hex
        # Transactional, so that it is flushed, and therefore sent, at once.
        self._session.ask("SELECT pg_logical_emit_message(true, '_bemi_mark', %s)", mark)
        self._transactions.marks.add(mark.encode())
        return mark.encode()
