"""Walk along the chains of one slot, and compare the log with them, some links at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bemi_django.seals.chain_links import ReadAhead
from bemi_django.seals.findings import ChainReport, of_change, of_link
from bemi_django.seals.links import Link
from bemi_django.seals.operations import Expected, Operations
from bemi_django.seals.rows import LoggedRow, read_rows
from bemi_django.seals.spans import Spans

_MISSING = """
SELECT wanted FROM unnest(%s::text[]) wanted
WHERE NOT EXISTS (SELECT FROM _bemi.chains c WHERE c.name = wanted) ORDER BY wanted
"""
#: Rows that nobody has sealed, of which it is asked where they come from.
_MOST = 10_000
_FIRST, _LAST = bytes(16), b"\xff" * 16


class ChainWalk:
    """Compares the rows of the sources of a slot with the links of its chains.

    With a queue, each lane has a chain. Ids grow along each, so that they are read side by side.

    Args:
        log: The name of the log.
        slot: The name of the slot.
        chains: The names of its chains.
        operations: What was done to sealed changes.
        report: Where findings go.
    """

    def __init__(
        self, log: str, slot: str, chains: Sequence[str], operations: Operations, report: ChainReport
    ) -> None:
        self._log = log
        self._chains = {name: ReadAhead(name, report, len(chains)) for name in chains}
        self._operations = operations
        self._report = report
        self._reached: bytes | None = None
        self._spans = Spans(slot)
        self._expected: dict[bytes, Expected] = {}
        self._strange: list[LoggedRow] = []
        #: The databases whose changes are sealed.
        self.databases: set[str] = set()

    @property
    def sources(self) -> set[int]:
        """The sources whose changes were compared."""
        return self._spans.sources

    @property
    def number(self) -> int:
        """The number of links that were read."""
        return sum(chain.links.number for chain in self._chains.values())

    @property
    def place(self) -> dict[str, Any]:
        """Where the walk is between two steps, as JSON has it."""
        return {
            "chains": {name: chain.place for name, chain in self._chains.items()},
            "reached": self._reached and self._reached.hex(),
            "spans": self._spans.place,
            "databases": sorted(self.databases),
        }

    @place.setter
    def place(self, place: Mapping[str, Any]) -> None:
        for name, chain in self._chains.items():
            if name in place["chains"]:
                chain.place = place["chains"][name]
        self._reached = place["reached"] and bytes.fromhex(place["reached"])
        self._spans.place = place["spans"]
        self.databases = set(place["databases"])

    def step(self, cursor: Any) -> bool:
        """Take the next links; return False at the end of all chains.

        Args:
            cursor: A cursor in a snapshot, in which the operations were read, too.
        """
        chains = self._chains.values()
        for chain in chains:
            while not chain.expected and (links := chain.links.read(cursor)):
                for link in links:
                    self._take(chain, link)
        is_over = not any(chain.expected for chain in chains)
        # Of the others, everything was read that the snapshot has.
        last = min((max(chain.expected) for chain in chains if chain.expected), default=_LAST)
        self._expected = {}
        for name, chain in self._chains.items():
            taken = chain.take(last)
            is_foreign = self._spans.are_mixed and any(map(self._spans.contradict, taken))
            if is_foreign or not taken.keys().isdisjoint(self._expected):
                self._report.add(of_link(name, "it has changes of another chain"))
            self._expected |= taken
        self._operations.apply(cursor, self._expected)
        if self._reached is None:
            begun = [] if self._spans.first is None else [self._spans.first]
            self._reached = min([*begun, *(_before(one) for one in self._expected)], default=_FIRST)
        after = self._reached
        if self._expected:
            # Rows of a lane that is behind, or of links that were moved, are read again.
            after = min(after, _before(min(self._expected)))
        if after < last:
            read_rows(cursor, self._log, after, last, self._compare)
            self._judge_strange(cursor)
        self._reached = max(self._reached, last)
        self._report_missing()
        return not is_over

    def require_all(self, cursor: Any) -> None:
        """Report chains that there must be, and that are not there."""
        cursor.execute(_MISSING, [sorted(self._spans.chains)])
        for (name,) in cursor.fetchall():
            self._report.add(of_link(name, "it was removed"))

    def _take(self, chain: ReadAhead, link: Link) -> None:
        if link.kind not in ("begin", "end"):
            chain.add(link, self._spans)
            return
        name, says = chain.links.name, link.says
        try:
            (self._spans.begin if link.kind == "begin" else self._spans.end)(name, says)
        except (LookupError, TypeError, ValueError):
            self._report.add(of_link(name, f"the link {link.number} cannot be read"))
            return
        self.databases.add(str(says.get("database")))

    def _compare(self, row: LoggedRow) -> None:
        one = self._expected.get(row.id)
        if one is None:
            if row.source in self.sources and (self._reached is None or row.id > self._reached):
                self._judge_unsealed(row)
            return
        report, sealed = self._report, one.sealed
        is_second = one.is_seen
        one.is_seen = True
        if is_second or not one.may_be_present:
            report.add(of_change("inserted", row.id, row.position, row.committed_at))
        elif not row.has_digest(one.digest, one.salt) or row.is_diverged != self._operations.is_diverged(
            row.source, row.id
        ):
            report.add(of_change("edited", row.id, sealed.position, sealed.committed_at))
        report.changes += 1

    def _judge_unsealed(self, row: LoggedRow) -> None:
        if not self._spans.cover(row.source, row.id):
            self._report.unsealed += 1
        elif len(self._strange) < _MOST:
            self._strange.append(row)
        else:
            self._report.add(of_change("inserted", row.id, row.position, row.committed_at))

    def _judge_strange(self, cursor: Any) -> None:
        """Report rows that were inserted, unless the package has done that itself."""
        rows, self._strange = self._strange, []
        added = self._operations.added(cursor, [row.id for row in rows])
        for row in rows:
            sealed = added.get(row.id)
            # It may have come after a failover marked the changes around it.
            is_marked = row.is_diverged and not self._operations.is_diverged(row.source, row.id)
            if sealed is None or is_marked or not row.has_digest(sealed.digest, sealed.salt):
                kind = "inserted" if sealed is None else "edited"
                self._report.add(of_change(kind, row.id, row.position, row.committed_at))
            else:
                self._report.changes += 1

    def _report_missing(self) -> None:
        for one in self._expected.values():
            if one.must_be_present and not one.is_seen:
                sealed = one.sealed
                self._report.add(of_change("removed", sealed.id, sealed.position, sealed.committed_at))


def _before(identifier: bytes) -> bytes:
    """Return the id before another one."""
    return max(int.from_bytes(identifier, "big") - 1, 0).to_bytes(16, "big")
