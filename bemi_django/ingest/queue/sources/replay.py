"""Begin a log in another destination with what a queue still has."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from bemi_django.exceptions import QueueUnavailable, ReplicationError
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.lane_reader import LaneReader, StoredChunk
from bemi_django.ingest.queue.server.numbering import Numbers, numbers_of
from bemi_django.ingest.queue.sources.refused_sources import RefusedSources, SourceRefused, about
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.sequence import HistoryStart, history_of, lsn_of

logger = logging.getLogger(__name__)

# Several consumers may begin at once.
# Any role that may connect could take an advisory lock, and keep it.
_LOCK = "LOCK TABLE _bemi.lanes IN SHARE UPDATE EXCLUSIVE MODE"
_REASON = "replayed from a queue"
_LEFT_BEHIND = (
    "the destination has the histories of {source}, and no checkpoint: parts of an earlier log are left. "
    "--from is for a new destination: use another database, or remove that log and install it again"
)
#: By how much clocks may differ that nobody has to be told of.
_SAME_TIME = timedelta(minutes=1)
_AHEAD = "the clock of the queue at %s is ahead of this machine's by %s: --from is by that of the queue"
_BEHIND = "the clock of the queue at %s is behind this machine's by %s: --from is by that of the queue"
_BEGINS = (
    "the log of %s begins with what the queue has; --baseline, or 'manage.py bemi baseline --to nats://...', "
    "gives it older rows"
)
#: Of which transactions all changes are in the log, is not known.
_NO_XID = 2**63 - 1
#: Seconds that the queue may take for the first message of a lane.
_PATIENCE = 2.0


class Replayed(NamedTuple):
    """What is replayed: messages that the queue has got at ``since`` or later; None for all that it has."""

    since: datetime | None = None


class Replay:
    """Lets the lanes of all sources begin that have none in a destination.

    Args:
        connection: The connection to the destination.
        broker: The connection to the queue.
        replayed: What is replayed.
        refused: Sources that do not begin.
    """

    def __init__(self, connection: Any, broker: Broker, replayed: Replayed, refused: RefusedSources) -> None:
        self._connection = connection
        self._broker, self._refused = broker, refused
        self._since, self._is_compared = replayed.since, False
        self._message = threading.Event()
        self._begun: set[str] = set()

    def begin(self, *, is_for_new: bool = False) -> None:
        """Write where the lanes and the log of each source begin.

        A source that has begun already goes on where it is.

        Args:
            is_for_new: Whether to leave the others alone: what they have is still being written.

        Raises:
            SourceRefused: The log of the only source was begun in another way.
            QueueUnavailable: Lanes of a source have no message from then on yet.
        """
        if self._since is not None and not self._is_compared:
            self._compare_clocks()
        lacking: QueueUnavailable | None = None
        refusals: list[SourceRefused] = []
        for source, number in self._broker.sources().items():
            if source in self._refused or is_for_new and source in self._begun:
                continue
            try:
                with about(source):
                    self._begin_source(source, number, is_for_new=is_for_new)
                self._begun.add(source)
            except QueueUnavailable as error:
                # Others begin: it may be no source at all, as anybody may publish.
                self._broker.raise_if_lost()
                lacking = error
            except SourceRefused as refusal:
                refusals.append(refusal)
        if refusals and not self._begun:
            raise refusals[0]
        for one in refusals:
            self._refused.add(one)
        if lacking is not None:
            raise lacking

    def _compare_clocks(self) -> None:
        """Say where a time means another one to the queue."""
        lead = self._numbers().now - datetime.now(timezone.utc)
        self._is_compared = True
        if abs(lead) > _SAME_TIME:
            is_said = _AHEAD if lead > timedelta() else _BEHIND
            hosts, seconds = self._broker.address.hosts, round(abs(lead).total_seconds())
            logger.warning(is_said, hosts, timedelta(seconds=seconds))

    def _numbers(self) -> Numbers:
        connection = self._broker.connection
        return connection.run(numbers_of(connection.client, self._broker.address.stream))

    def _begin_source(self, source: str, number: int, *, is_for_new: bool) -> None:
        has_log = Checkpoints(self._connection, source).read() is not None
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(_LOCK)
            if found := lanes.read(cursor, source):
                if number != len(found) and not is_for_new:
                    self._divide_anew(cursor, source, number, found)
                return
            if has_log:
                raise ReplicationError(
                    f"the log of {source} has begun without a queue: --from is for a new destination"
                )
            if Histories(source).are_there(cursor):
                raise ReplicationError(_LEFT_BEHIND.format(source=source))
            self._begin(cursor, source)

    def _begin(self, cursor: Any, source: str) -> None:
        first = self._first(source, 0)
        found = {0: first, **{lane: self._first(source, lane) for lane in range(1, first.chunk.lanes)}}
        stream = self._numbers().identity
        for lane, read in found.items():
            lanes.add(cursor, source, lane, read.chunk.begin, read.first - 1, stream)
        # Others may begin in an earlier history, on another server.
        latest = max((read.chunk for read in found.values()), key=lambda chunk: chunk.begin)
        # A transaction that begins in the middle is not one of the log.
        sequence = latest.begin.sequence + (latest.begin.ordinal > 0)
        lsn, origin = lsn_of(sequence), latest.origin
        start = HistoryStart(history_of(sequence), lsn)
        Histories(source).add(cursor, start, origin.system_identifier, origin.timeline, _REASON)
        Checkpoints(self._connection, source).start(cursor, lsn, _NO_XID, origin)
        logger.info(_BEGINS, source)

    def _divide_anew(
        self, cursor: Any, source: str, number: int, found: Mapping[int, lanes.LaneState]
    ) -> None:
        """Follow a publisher that has begun with another number of lanes, if one has.

        Raises:
            ReplicationError: The lanes lack changes that the queue does not have any more.
        """
        chunk = self._first(source, number - 1).chunk
        if chunk.lanes == len(found):
            return
        places = {state.position for state in found.values()}
        if len(places) > 1:
            raise ReplicationError(
                f"the queue has {chunk.lanes} lanes of {source}, and the {len(found)} in this log lack some"
            )
        lanes.divide_anew(cursor, source, chunk.lanes, places.pop())
        logger.info("the log of %s goes on with %d lanes", source, chunk.lanes)

    def _first(self, source: str, lane: int) -> StoredChunk:
        number = 1 if self._since is None else self._broker.number_at(source, lane, self._since)
        before = lanes.LaneState(LanePosition(0), number - 1)
        last = self._broker.ends(source, [lane]).get(lane, before).message
        reader = LaneReader(self._broker, source, lane, before, self._message.set)
        try:
            deadline = time.monotonic() + _PATIENCE
            while (found := reader.read()) is None:
                self._broker.raise_if_lost()
                if reader.seen >= last or time.monotonic() > deadline:
                    raise QueueUnavailable(
                        f"the queue has no message of lane {lane} of {source} from then on yet"
                    )
                self._message.wait(0.05)
            return found
        finally:
            reader.close()
