"""One session of a consumer: take lanes, write what their queue holds, until told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from bemi_django.exceptions import QueueUnavailable, ReplicationError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.division.former_division import is_of_another, require_same
from bemi_django.ingest.queue.division.removal import Removal
from bemi_django.ingest.queue.division.taken_chunk import TakenChunk
from bemi_django.ingest.queue.held_lanes import HeldLanes
from bemi_django.ingest.queue.lane_locks import Lane
from bemi_django.ingest.queue.log_writer import LogWriter
from bemi_django.ingest.queue.message.chunk import Chunk
from bemi_django.ingest.queue.sources.refused_sources import RefusedSources, SourceRefused
from bemi_django.ingest.queue.sources.replay import Replay, Replayed
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS
from bemi_django.ingest.stream.connections import connect_destination
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.wire.lane import LanePosition

logger = logging.getLogger(__name__)

#: Changes that are written in one transaction, if they come from several chunks.
_CHANGES = 5000
#: Seconds between two looks at who holds which lane, and between two removals of what was written.
_BALANCE, _FORGET = 1.0, 0.5
#: Seconds of waiting for a message, and for what another consumer writes.
_WAIT, _BLOCKED = 0.2, 0.02


class Consumption:
    """Writes the lanes that it holds.

    Args:
        config: Where the queue and the destination are.
        progress: Counts what is written.
        timeouts: Timeouts of the connections.
        is_stopping: Set when the session is to end after the present transaction.
        replayed: What to begin the log of sources with that have none; None to begin no log, unless this is
            one of several destinations, and not the first: it begins with all that the queue has.
    """

    def __init__(
        self,
        config: WorkerConfig,
        progress: Progress,
        timeouts: Timeouts,
        is_stopping: threading.Event,
        replayed: Replayed | None = None,
    ) -> None:
        self._config, divided = config, config.divided
        self._is_first = divided is None or divided.is_first
        self._progress = progress
        self._is_stopping = is_stopping
        self._message = threading.Event()
        self._committed_at = 0
        self._balance_at = self._forget_at = 0.0
        self._is_until_current = False
        self._trouble = ""
        with ExitStack() as opened:
            self._connection = connection = connect_destination(config, timeouts.lock, timeouts.answer)
            opened.callback(connection.close)
            assert config.queue is not None
            self._broker = Broker(config.queue)
            opened.callback(self._broker.close)
            self._removal = Removal(self._broker, divided.others if divided else {})
            opened.callback(self._removal.close)
            self._refused = RefusedSources(connection)
            begins = replayed if self._is_first else replayed or Replayed()
            self._replay = None if begins is None else Replay(connection, self._broker, begins, self._refused)
            self._lanes = HeldLanes(
                connection, self._broker, config, self._removal, self._refused, self._message.set
            )
            self._writer = LogWriter(connection, is_sealed=config.is_sealed, is_for_all=True)
            self.close: Callable[[], None] = opened.pop_all().close

    def run(self, until_current: bool = False) -> None:
        """Write until told to stop.

        Args:
            until_current: Return when everything that is in the queue now is in the log, whoever writes it.

        Raises:
            SourceRefused: Told to return, when all other sources are written.
            ReplicationError: Likewise, where changes are missing.
            BemiError: An administrator has to do something, or the queue is not there.
            psycopg2.Error: The destination cannot be written to.
        """
        if self._replay is not None and self._is_first:
            self._replay.begin()
        self._begin_sources()
        self._is_until_current = until_current
        targets = self._ends() if until_current else {}
        is_over = False
        while not is_over and not self._is_stopping.is_set():
            try:
                is_over = self._go_on(targets)
            except SourceRefused as refusal:
                self._refused.add(refusal)
                # What was taken of other sources is not written.
                self._lanes.read_anew()
                self._balance_at = 0.0
        self._removal.settle()
        self._lanes.forget()
        self._removal.settle()
        if is_over:
            self._refused.require_none()

    def _go_on(self, targets: Mapping[Lane, LanePosition]) -> bool:
        """Write what is there, or wait for it; return whether all is in the log that is to be."""
        self._message.clear()
        self._broker.raise_if_lost()
        for reader in self._lanes.readers.values():
            self._writer.keep_rejected(reader)
        now = time.monotonic()
        if now >= self._balance_at:
            self._balance_at = now + _BALANCE
            self._begin_sources()
            self._lanes.balance()
            if self._is_until_current and self._is_at(targets):
                return True
            self._trouble = self._lanes.note_trouble()
        if now >= self._forget_at:
            self._forget_at = now + _FORGET
            self._lanes.forget()
        if self._write():
            if self._is_until_current:
                self._balance_at = 0.0
            return False
        if self._is_until_current and self._trouble and self._lanes.are_at(targets):
            raise ReplicationError(self._trouble)
        if any(reader.peek() is not None for reader in self._lanes.readers.values()):
            time.sleep(_BLOCKED)
        else:
            self._message.wait(_WAIT)
        if self._progress.is_due(time.time() - EPOCH_SECONDS - self._committed_at / 1e6):
            logger.info("%s", self._progress.line(0, 0.0))
        return False

    def _begin_sources(self) -> None:
        """Begin the log of sources that have come, where the publisher does not do it."""
        if self._replay is None:
            return
        try:
            self._replay.begin(is_for_new=self._is_first)
        except QueueUnavailable:
            """Their first messages are being published."""
        except SourceRefused as refusal:
            self._refused.add(refusal)

    def _write(self) -> bool:
        """Write what is there, and return whether that was anything."""
        taken: list[TakenChunk] = []
        others: list[Chunk] = []
        self._lanes.look_anew()
        size, is_open = 0, True
        while is_open and size < _CHANGES:
            is_open = False
            for reader in self._lanes.readers.values():
                chunk = reader.peek()
                if chunk is None or size >= _CHANGES or not self._may_follow(chunk):
                    continue
                if is_of_another(chunk, self._config):
                    others.append(chunk)
                    continue
                position = reader.position
                reader.take()
                one = TakenChunk(chunk, position, reader.message, self._config.divided, reader.stream)
                size += len(one.changes)
                taken.append(one)
                is_open = True
        if not taken:
            require_same(others)
            return False
        self._progress.add(self._writer.write(taken))
        for one in taken:
            self._refused.accept(one.chunk.source)
        self._committed_at = max(self._committed_at, *(one.chunk.committed_at or 0 for one in taken))
        return True

    def _may_follow(self, chunk: Chunk) -> bool:
        return self._lanes.may_follow(chunk) and self._writer.are_shown(chunk)

    def _ends(self) -> dict[Lane, LanePosition]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SELECT slot, count(*) FROM _bemi.lanes GROUP BY slot")
            found = cursor.fetchall()
        return {
            (slot, lane): end.position
            for slot, number in found
            for lane, end in self._broker.ends(slot, range(number)).items()
        }

    def _is_at(self, targets: Mapping[Lane, LanePosition]) -> bool:
        self._refused.forget_others()
        for slot in {slot for slot, _ in targets}:
            with self._connection, self._connection.cursor() as cursor:
                states = lanes.read(cursor, slot)
            # Where there are fewer lanes by now, all of them were read to their end.
            ends = {lane: end for (of, lane), end in targets.items() if of == slot and lane in states}
            is_behind = any(states[lane].position < end for lane, end in ends.items())
            if is_behind and not self._refused.is_known(slot):
                return False
        return True
