"""Read one chain: each of its links has to follow the one before."""

from __future__ import annotations

from typing import Any

from bemi_django.seals.findings import ChainReport, of_link
from bemi_django.seals.links import CHANGES, READ, Link, SealedChange, read_links
from bemi_django.seals.operations import Expected
from bemi_django.seals.spans import Spans
from bemi_django.wire.ids import ordinal_in

#: The ordinal of a gap, which is written before the chain begins again or ends.
_GAP = 0xFFFFFFFF
# Pages show the time of the head.
_HEAD = """
SELECT number, hash, number = 0 OR EXISTS (
    SELECT FROM _bemi.links l WHERE (l.chain, l.number, l.sealed_at) = (c.name, c.number, c.sealed_at))
FROM _bemi.chains c WHERE name = %s
"""


class ChainLinks:
    """Verifies that each link of a chain follows the one before."""

    def __init__(self, name: str, report: ChainReport, changes: int = CHANGES) -> None:
        self.name = name
        self.number = 0
        self._hash = b""
        self._report = report
        self._changes = changes
        self._is_wrong = False

    def read(self, cursor: Any, limit: int = READ) -> list[Link]:
        """Return the next links, none at the end of the chain."""
        links = read_links(cursor, self.name, self.number, limit, self._changes)
        for link in links:
            if link.number != self.number + 1:
                self._add(f"the links {self.number + 1} to {link.number - 1} were removed")
                # Nobody knows what the next hash was made of.
            elif link.hash != link.hash_after(self.name, self._hash) or not link.is_findable:
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
        is_right = head is not None and (head[0], bytes(head[1]), head[2]) == (self.number, self._hash, True)
        if not is_right and not self._is_wrong:
            # It may be asked for again.
            self._is_wrong = True
            self._add(
                f"it does not end with the link {self.number}, as it should: links were removed or added"
            )

    def _add(self, text: str) -> None:
        self._report.add(of_link(self.name, text))


class ReadAhead:
    """What was read of one of several chains of a slot, and is not compared yet.

    Args:
        name: The name of the chain.
        report: Where findings go.
        chains: The number of chains that are read side by side.
    """

    def __init__(self, name: str, report: ChainReport, chains: int) -> None:
        self.links = ChainLinks(name, report, CHANGES // chains)
        self._report = report
        #: Changes by id.
        self.expected: dict[bytes, Expected] = {}
        self._last = b""

    def add(self, link: Link, spans: Spans) -> None:
        """Take the changes of a link, which come after those before, and where the chain is open.

        Args:
            link: The link.
            spans: Where the chain has begun and ended before the link.
        """
        name, is_right = self.links.name, True
        for sealed in link.changes():
            change = sealed.id
            is_right &= change > self._last and (spans.are_open(name, change) or ordinal_in(change) == _GAP)
            self._last = max(self._last, change)
            self.expected[change] = Expected(sealed, link.sealed_at, sealed.digest, sealed.salt)
        if not is_right:
            self._report.add(of_link(name, f"the link {link.number} has changes that are not its own"))

    def take(self, last: bytes) -> dict[bytes, Expected]:
        """Return the changes up to an id, and keep the others."""
        taken = {change: one for change, one in self.expected.items() if change <= last}
        for change in taken:
            del self.expected[change]
        return taken

    @property
    def place(self) -> list[Any]:
        """Where it is between two steps, as JSON has it."""
        ahead = [
            [*(part.hex() for part in one.sealed[:3]), *one.sealed[3:], one.sealed_at]
            for one in self.expected.values()
        ]
        return [self.links.place, self._last.hex(), ahead]

    @place.setter
    def place(self, place: list[Any]) -> None:
        self.links.place, last, ahead = place
        self._last = bytes.fromhex(last)
        self.expected = {}
        for change, digest, salt, position, committed_at, sealed_at in ahead:
            parts = bytes.fromhex(change), bytes.fromhex(digest), bytes.fromhex(salt)
            sealed = SealedChange(*parts, position, committed_at)
            self.expected[sealed.id] = Expected(sealed, sealed_at, sealed.digest, sealed.salt)
