"""The lanes that a consumer holds, and what reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.course.course_follower import CourseFollower
from bemi_django.ingest.queue.division.removal import Removal
from bemi_django.ingest.queue.lane_locks import Lane, LaneLocks
from bemi_django.ingest.queue.lane_reader import LaneReader
from bemi_django.ingest.queue.message.chunk import Chunk, may_follow
from bemi_django.ingest.queue.sources.refused_sources import RefusedSources, about
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.sequence import HistoryStart

logger = logging.getLogger(__name__)

_TAKEN = (
    "the destination {name} is a database in which changes of {source} are written for the destination "
    "{other}, and not those for {name}: give each alias in DATABASES the database that it had, one for each"
)


class HeldLanes:
    """Takes lanes, shares them with other consumers, and reads each from where the log is.

    Args:
        connection: The connection to the destination on which chunks are written.
        broker: The connection to the queue.
        config: What the consumer works on.
        removal: Knows how the stream counts, and removes what is in the log.
        refused: Sources of which nothing is read.
        wake: Called in another thread when a message is there.
    """

    def __init__(
        self,
        connection: Any,
        broker: Broker,
        config: WorkerConfig,
        removal: Removal,
        refused: RefusedSources,
        wake: Callable[[], object],
    ) -> None:
        self._connection, self._broker, self._config = connection, broker, config
        self._removal, self._refused, self._wake = removal, refused, wake
        self._locks = LaneLocks(connection)
        self._follower = CourseFollower(connection, broker, config)
        self.readers: dict[Lane, LaneReader] = {}
        self._others: dict[Lane, LanePosition] = {}
        self._are_fresh = False
        self._lacking: set[Lane] = set()

    def balance(self) -> None:
        """Take and release lanes, follow the course of their sources, and read on from where that leads."""
        taken, released = self._locks.balance()
        for lane in released:
            if (reader := self.readers.pop(lane, None)) is not None:
                reader.close()
        self._claim({slot for slot, _ in taken})
        for slot, number in self._locks.held:
            if (slot, number) in self.readers or slot in self._refused:
                continue
            with self._connection, self._connection.cursor() as cursor:
                states, histories = lanes.read(cursor, slot), Histories(slot).read(cursor)
                servers = Histories(slot).servers(cursor)
                # Whoever wrote the lane before may have been killed in between.
                lanes.move_checkpoint(cursor, slot)
            # A publisher may have begun with fewer lanes meanwhile.
            if number in states:
                logger.info("writing lane %d of %s", number, slot)
                self._read((slot, number), states, histories, servers)
        self._follow_courses()
        self._follow_positions()
        for reader in self.readers.values():
            reader.look_back()

    def read_anew(self) -> None:
        """Read all lanes again from where the log is, from the next :meth:`balance` on."""
        for reader in self.readers.values():
            reader.close()
        self.readers.clear()

    def _claim(self, sources: set[str]) -> None:
        """Check that no other destination is written here, which would leave out what is for this one.

        Raises:
            ReplicationError: One is.
        """
        if (divided := self._config.divided) is None:
            return
        for source in sources:
            with self._connection, self._connection.cursor() as cursor:
                other = lanes.claim(cursor, source, divided.division.fingerprint, divided.name)
            if other:
                raise ReplicationError(_TAKEN.format(name=divided.name, source=source, other=other))

    def _follow_courses(self) -> None:
        """Follow gaps and new histories that the log does not have yet: who holds the first lane does it."""
        for (_, number), reader in self.readers.items():
            if number == 0 and reader.peek() is None and reader.turning is not None:
                with about(reader.source):
                    reader.is_lacking = self._follower.follow(reader.turning)

    def _follow_positions(self) -> None:
        """Read lanes anew that were moved: they begin again where a history does, or after a gap."""
        for source in {slot for slot, _ in self.readers}:
            with self._connection, self._connection.cursor() as cursor:
                states, histories = lanes.read(cursor, source), Histories(source).read(cursor)
                servers = Histories(source).servers(cursor)
            for (slot, number), reader in list(self.readers.items()):
                state = states.get(number)
                if slot == source:
                    reader.histories, reader.servers = histories, servers
                if slot != source or state is None:
                    continue
                if state.position > reader.position or reader.lanes != len(states):
                    reader.close()
                    self._read((slot, number), states, histories, servers)

    def _read(
        self,
        lane: Lane,
        states: dict[int, lanes.LaneState],
        histories: list[HistoryStart],
        servers: dict[int, str],
    ) -> None:
        slot, number = lane
        last = self._broker.ends(slot, [number]).get(number)
        counted = self._removal.numbering.of_stream(*lane, states[number], last)
        reader = LaneReader(self._broker, *lane, counted, self._wake, histories, len(states), servers)
        reader.is_proven |= last is None or last.message <= counted.message
        self.readers[lane] = reader

    def look_anew(self) -> None:
        """Look at lanes of others again when a chunk has to wait for them."""
        self._are_fresh = False

    def may_follow(self, chunk: Chunk) -> bool:
        """Return whether the lanes that a chunk comes after have come to where they have to be."""
        if chunk.after is None:
            return True
        known = self._positions(chunk.source)
        # Lanes only go forward, so what was seen earlier is enough if it is far enough.
        if not self._are_fresh and (len(known) < chunk.lanes or not may_follow(chunk, known)):
            self._read_others()
            known = self._positions(chunk.source)
        return may_follow(chunk, known)

    def _positions(self, source: str) -> dict[int, LanePosition]:
        known = {lane: position for (slot, lane), position in self._others.items() if slot == source}
        held = {lane: reader.position for (slot, lane), reader in self.readers.items() if slot == source}
        return {**known, **held}

    def _read_others(self) -> None:
        self._others.clear()
        for slot in {slot for slot, _ in self.readers}:
            with self._connection, self._connection.cursor() as cursor:
                for lane, state in lanes.read(cursor, slot).items():
                    self._others[slot, lane] = state.position
        self._are_fresh = True

    def forget(self) -> None:
        """Begin to remove from the queue what is in the log."""
        self._removal.numbering.require_same()
        for lane, reader in self.readers.items():
            # What was divided in another way, other destinations may lack that this consumer does not know.
            if reader.is_proven and reader.division == self._config.division:
                self._removal.begin(lane, reader.message)

    def note_trouble(self) -> str:
        """Say where changes are missing that do not come, until the lane gets on; return it, or nothing."""
        found = ""
        for lane, reader in self.readers.items():
            if not (trouble := reader.trouble):
                self._lacking.discard(lane)
            elif lane not in self._lacking:
                self._lacking.add(lane)
                logger.error("%s: %s", reader.source, trouble)
                Checkpoints(self._connection, reader.source).note_trouble(trouble)
            found = found or (f"{reader.source}: {trouble}" if trouble else "")
        return found

    def are_at(self, targets: Mapping[Lane, LanePosition]) -> bool:
        """Return whether all lanes have come as far as they can, when nothing that is there may be written.

        Args:
            targets: Where lanes are to come that lack no changes, and do not wait for one that does.
        """
        return all(
            reader.position >= targets[lane] or lane in self._lacking or self._waits(reader)
            for lane, reader in self.readers.items()
            if lane in targets
        )

    def _waits(self, reader: LaneReader) -> bool:
        is_of_lacking = any(slot == reader.source for slot, _ in self._lacking)
        return is_of_lacking and (reader.peek() is not None or reader.turning is not None)
