"""Who writes which lane: advisory locks of the destination, which end with the connection of their holder."""

from __future__ import annotations

import logging
import time
from typing import Any

logger = logging.getLogger(__name__)

_ALL = "SELECT slot, lane FROM _bemi.lanes ORDER BY lane, slot"
_CONSUMER = "hashtextextended('_bemi.consumers', 0)"
_JOIN = f"SELECT pg_try_advisory_lock_shared({_CONSUMER})"
# Any role that may connect can take these locks: who may not move lanes does not count.
_HELD = """
SELECT l.mode, l.classid, l.objid,
       a.usename = session_user OR has_table_privilege(a.usesysid, '_bemi.lanes', 'UPDATE')
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid AND a.datid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database()
"""
#: Rows of the locks of a key, and whether one is of a consumer.
HELD_OF_KEY = f"""
SELECT FROM ({_HELD}) held (mode, high, low, is_ours)
WHERE high = ((key >> 32) & 4294967295)::oid AND low = (key & 4294967295)::oid
"""
_COUNT = f"""
SELECT count(*) FROM (SELECT {_CONSUMER}) k (key) CROSS JOIN LATERAL (
    {HELD_OF_KEY} AND mode = 'ShareLock' AND is_ours) others
"""  # noqa: S608 - a constant
_LANE = "hashtextextended(format('_bemi.lanes %%s.%%s', %s::text, %s::integer), 0)"
_TAKE = f"""
SELECT pg_try_advisory_lock(key) OR EXISTS ({HELD_OF_KEY} AND NOT is_ours) FROM (SELECT {_LANE}) k (key)
"""  # noqa: S608 - a constant
_RELEASE = f"SELECT pg_advisory_unlock({_LANE})"
#: Seconds after which a consumer that says nothing is taken for one that was paused, and after which one that
#: sends nothing in the middle of a COPY, which a slow network may hold up.
_PAUSED, _PAUSED_IN_COPY = 10.0, 60.0
# The kernel of a paused process keeps its connection, and so its locks. Others ask something each second.
_WAITED_FOR = f"""
FROM pg_stat_activity a LEFT JOIN pg_stat_progress_copy c ON c.pid = a.pid
WHERE a.datname = current_database() AND a.usename = session_user AND a.pid <> pg_backend_pid()
    AND a.wait_event = 'ClientRead'
    AND EXISTS (
        SELECT FROM pg_locks l, (SELECT {_CONSUMER}) k (key)
        WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.classid = ((key >> 32) & 4294967295)::oid AND l.objid = (key & 4294967295)::oid)
"""
# The server does not say when the last bytes of a COPY came, and its clock may be set while we look.
_STANDING = f"SELECT a.pid, a.state_change, c.bytes_processed, a.state = 'active' {_WAITED_FOR}"
_END = f"""
SELECT pg_terminate_backend(a.pid) {_WAITED_FOR}
    AND a.pid = %s AND a.state_change = %s AND c.bytes_processed IS NOT DISTINCT FROM %s
"""  # noqa: S608 - constants

#: A lane by the name of its slot and its number.
Lane = tuple[str, int]


class LaneLocks:
    """The lanes that one consumer holds; each of several consumers holds about the same number.

    The locks only save work: a lane is moved from where it was, or not at all. So the connection of a
    consumer that was paused is ended, as if it were killed; it begins anew when it goes on.

    Args:
        connection: The connection to the destination on which chunks are written.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.held: list[Lane] = []
        #: Since when others stand where they do, in seconds of ``time.monotonic()``.
        self._standing: dict[tuple[Any, ...], float] = {}
        self._run(_JOIN)

    def balance(self) -> tuple[list[Lane], list[Lane]]:
        """Take lanes that nobody holds, and release those that are beyond a fair share.

        Returns:
            The lanes that were taken, and those that were released.
        """
        self._end_paused()
        lanes = [(slot, lane) for slot, lane in self._rows(_ALL)]
        ((consumers,),) = self._rows(_COUNT)
        share = -(-len(lanes) // max(consumers, 1))
        released = [lane for lane in self.held if lane not in lanes]
        released += [lane for lane in self.held if lane in lanes][share:]
        for lane in released:
            self.held.remove(lane)
            self._run(_RELEASE, *lane)
        taken = []
        for lane in lanes:
            if len(self.held) < share and lane not in self.held and lane not in released:
                ((is_taken,),) = self._rows(_TAKE, *lane)
                if is_taken:
                    self.held.append(lane)
                    taken.append(lane)
        return taken, released

    def _end_paused(self) -> None:
        now = time.monotonic()
        self._standing = {one: self._standing.get(one, now) for one in self._rows(_STANDING)}
        for (*consumer, is_in_copy), since in self._standing.items():
            limit = _PAUSED_IN_COPY if is_in_copy else _PAUSED
            if now - since > limit and self._rows(_END, *consumer):
                logger.warning(
                    "the connection of a consumer that does nothing was ended: others take its lanes"
                )

    def _run(self, query: str, *parameters: object) -> None:
        self._rows(query, *parameters)

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            found: list[Any] = cursor.fetchall()
            return found
