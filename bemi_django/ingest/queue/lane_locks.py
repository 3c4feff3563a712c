"""Who writes which lane: advisory locks of the destination, which end with the connection of their holder."""

from __future__ import annotations

from typing import Any

_ALL = "SELECT slot, lane FROM _bemi.lanes ORDER BY lane, slot"
_CONSUMER = "hashtextextended('_bemi.consumers', 0)"
_JOIN = f"SELECT pg_advisory_lock_shared({_CONSUMER})"
_COUNT = f"""
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = ((({_CONSUMER}) >> 32) & 4294967295)::oid
    AND objid = (({_CONSUMER}) & 4294967295)::oid AND objsubid = 1
"""  # noqa: S608 - a constant
_LANE = "hashtextextended(format('_bemi.lanes %%s.%%s', %s::text, %s::integer), 0)"
_TAKE = f"SELECT pg_try_advisory_lock({_LANE})"
_RELEASE = f"SELECT pg_advisory_unlock({_LANE})"

#: A lane by the name of its slot and its number.
Lane = tuple[str, int]


class LaneLocks:
    """The lanes that one consumer holds; each of several consumers holds about the same number.

    The locks only save work: a lane is moved from where it was, or not at all.

    Args:
        connection: The connection to the destination on which chunks are written.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.held: list[Lane] = []
        self._run(_JOIN)

    def balance(self) -> tuple[list[Lane], list[Lane]]:
        """Take lanes that nobody holds, and release those that are beyond a fair share.

        Returns:
            The lanes that were taken, and those that were released.
        """
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

    def _run(self, query: str, *parameters: object) -> None:
        self._rows(query, *parameters)

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            found: list[Any] = cursor.fetchall()
            return found
