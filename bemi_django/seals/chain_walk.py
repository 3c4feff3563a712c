"""Walk along one chain, and compare the log with it, some links at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bemi_django.seals.findings import ChainReport, of_change, of_link
from bemi_django.seals.links import READ, Link, read_links
from bemi_django.seals.operations import Expected, Operations
from bemi_django.seals.rows import LoggedRow, read_rows

_HEAD = "SELECT number, hash FROM _bemi.chains WHERE name = %s"
#: Rows that nobody has sealed, of which it is asked where they come from.
_MOST = 10_000
_FIRST, _LAST = bytes(16), b"\xff" * 16


class ChainLinks:
    """Verifies that each link of a chain follows the one before."""

    def __init__(self, name: str, report: ChainReport) -> None:
        self.name = name
        self.number = 0
        self._hash = b""
        self._report = report

    def read(self, cursor: Any, limit: int = READ) -> list[Link]:
        """Return the next links, none at the end of the chain."""
        links = read_links(cursor, self.name, self.number, limit)
        for link in links:
            if link.number != self.number + 1:
                self._add(f"the links {self.number + 1} to {link.number - 1} were removed")
                # Nobody knows what the next hash was made of.
            elif link.hash != link.hash_after(self.name, self._hash):
                self._add(f"the link {link.number} was changed")
            self.number, self._hash = link.number, link.hash
            self._report.links += 1
        if not links:
            self._require_head(cursor)
        return links

    @property
    def place(self) -> list[Any]:
        """The number and the hash of the last link that was read, as JSON has them."""
        return [self.number, self._hash.hex()]

    @place.setter
    def place(self, place: list[Any]) -> None:
        self.number, self._hash = place[0], bytes.fromhex(place[1])

    def _require_head(self, cursor: Any) -> None:
        cursor.execute(_HEAD, [self.name])
        head = cursor.fetchone()
        if head is None or (head[0], bytes(head[1])) != (self.number, self._hash):
            self._add(
                f"it does not end with the link {self.number}, as it should: links were removed or added"
            )

    def _add(self, text: str) -> None:
        self._report.add(of_link(self.name, text))


class ChainWalk:
    """Compares the rows of the sources of a chain with its links.

    Args:
        log: The name of the log.
        chain: The name of the chain.
        operations: What was done to sealed changes.
        report: Where findings go.
    """

    def __init__(self, log: str, chain: str, operations: Operations, report: ChainReport) -> None:
        self._log = log
        self._links = ChainLinks(chain, report)
        self._operations = operations
        self._report = report
        self._reached: bytes | None = None
        #: By source: after which id changes must be sealed, and up to which one they need not be.
        self._open: dict[int, bytes] = {}
        self._closed: list[tuple[int, bytes, bytes]] = []
        self._expected: dict[bytes, Expected] = {}
        self._strange: list[LoggedRow] = []
        #: The databases whose changes are sealed.
        self.databases: set[str] = set()

    @property
    def sources(self) -> set[int]:
        """The sources whose changes were compared."""
        return {*self._open, *(source for source, *_ in self._closed)}

    @property
    def number(self) -> int:
        """The number of the last link that was read."""
        return self._links.number

    @property
    def place(self) -> dict[str, Any]:
        """Where the walk is between two steps, as JSON has it."""
        return {
            "links": self._links.place,
            "reached": self._reached and self._reached.hex(),
            "open": {str(source): after.hex() for source, after in self._open.items()},
            "closed": [[source, after.hex(), last.hex()] for source, after, last in self._closed],
            "databases": sorted(self.databases),
        }

    @place.setter
    def place(self, place: Mapping[str, Any]) -> None:
        self._links.place = place["links"]
        self._reached = place["reached"] and bytes.fromhex(place["reached"])
        self._open = {int(source): bytes.fromhex(after) for source, after in place["open"].items()}
        self._closed = [
            (source, bytes.fromhex(after), bytes.fromhex(last)) for source, after, last in place["closed"]
        ]
        self.databases = set(place["databases"])

    def step(self, cursor: Any) -> bool:
        """Take the next links; return False at the end of the chain.

        Args:
            cursor: A cursor in a snapshot, in which the operations were read, too.
        """
        links = self._links.read(cursor)
        self._expected = {}
        for link in links:
            self._take(link)
        self._operations.apply(cursor, self._expected)
        if self._reached is None:
            begun = [*self._open.values(), *(after for _, after, _ in self._closed)]
            self._reached = min([*begun, *(_before(one) for one in self._expected)], default=_FIRST)
        after, last = self._reached, max(self._expected, default=self._reached) if links else _LAST
        if self._expected:
            # Ids grow along a chain; rows of links that were moved are read again.
            after = min(after, _before(min(self._expected)))
        if after < last:
            read_rows(cursor, self._log, after, last, self._compare)
            self._judge_strange(cursor)
        self._reached = max(self._reached, last)
        self._report_missing()
        return bool(links)

    def _take(self, link: Link) -> None:
        if link.kind in ("begin", "end"):
            says = link.says
            try:
                source, last = int(says["source"]), bytes.fromhex(says["last"])
            except (LookupError, TypeError, ValueError):
                self._report.add(of_link(self._links.name, f"the link {link.number} cannot be read"))
                return
            self.databases.add(str(says.get("database")))
            if link.kind == "begin":
                # Another source takes the place of the one before.
                for known, since in self._open.items():
                    self._closed.append((known, since, _LAST))
                self._open = {source: last}
            else:
                self._closed.append((source, self._open.pop(source, last), last))
            return
        for sealed in link.changes():
            if sealed.id in self._expected:
                self._report.add(of_link(self._links.name, f"the link {link.number} repeats a change"))
            self._expected[sealed.id] = Expected(sealed, link.sealed_at, sealed.digest, sealed.salt)

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
        spans = [*self._closed, *((source, since, _LAST) for source, since in self._open.items())]
        if any(source == row.source and after < row.id <= last for source, after, last in spans):
            if len(self._strange) < _MOST:
                self._strange.append(row)
            else:
                self._report.add(of_change("inserted", row.id, row.position, row.committed_at))
        else:
            self._report.unsealed += 1

    def _judge_strange(self, cursor: Any) -> None:
        """Report rows that were inserted, unless the package has done that itself."""
        rows, self._strange = self._strange, []
        added = self._operations.added(cursor, [row.id for row in rows])
        for row in rows:
            sealed = added.get(row.id)
            if sealed is None or not row.has_digest(sealed.digest, sealed.salt):
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
