"""What was done to sealed changes, as the chain of operations has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bemi_django.ingest.destination.partitions import moment_of
from bemi_django.ingest.destination.sealing import ID
from bemi_django.seals.links import OPERATIONS, Link, SealedChange

# Those of single changes, which may be many.
_OF_CHANGES = """
SELECT number, kind, ids, digests, salts FROM _bemi.links
WHERE chain = %s AND number <= %s AND first <= %s AND last >= %s AND kind IN ('removed', 'replaced')
ORDER BY number
"""
_WORDS = {"removed": "removed", "replaced": "replaced", "month": "dropped", "imported": "imported"}


@dataclass(slots=True)
class Expected:
    """What the log must have of a change that was sealed at a moment."""

    sealed: SealedChange
    sealed_at: int
    digest: bytes
    salt: bytes
    is_removed: bool = False
    is_dropped: bool = False
    is_returned: bool = False
    is_seen: bool = False

    @property
    def may_be_present(self) -> bool:
        """Whether the log may have a row of it."""
        return not self.is_removed and not self.is_dropped

    @property
    def must_be_present(self) -> bool:
        """Whether the log must have it: an archive may have had a row that was removed, or not."""
        return self.may_be_present and not self.is_returned


class Operations:
    """Collects the operations of a chain that was verified up to a link."""

    def __init__(self) -> None:
        self._months: list[tuple[int, str, str, int]] = []
        self._diverged: list[tuple[int, bytes, bytes]] = []
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._last: dict[tuple[str, str], int] = {}
        #: The links that note rows which the package has added.
        self.additions: list[int] = []
        self.number = 0

    def take(self, link: Link) -> None:
        """Take the next link of the chain of operations."""
        self.number = link.number
        says = link.says
        try:
            self._note(link, says)
        except (TypeError, ValueError):
            # Somebody has changed the link, which was found.
            return

    def _note(self, link: Link, says: Mapping[str, Any]) -> None:
        if link.kind in ("month", "imported"):
            self._months.append((link.number, link.kind, str(says.get("month")), link.sealed_at))
        elif link.kind == "diverged":
            bounds = (_bytes(says.get(name)) for name in ("after", "last"))
            self._diverged.append((int(says.get("source", -1)), *bounds))  # type: ignore[arg-type]
        kind = link.kind
        if kind == "replaced" and "added" in says:
            self.additions.append(link.number)
            kind = "added"
        key = kind, _by(kind, says)
        self._counts[key] += int(says.get("changes", len(link.ids) // ID))
        self._last[key] = link.sealed_at

    def is_diverged(self, source: int, change: bytes) -> bool:
        """Return whether a change was marked as lost in a failover."""
        return any(source == known and after < change <= last for known, after, last in self._diverged)

    def apply(self, cursor: Any, expected: Mapping[bytes, Expected]) -> None:
        """Change what is expected of some changes by what was done to them.

        Args:
            cursor: A cursor of psycopg2.
            expected: Sealed changes by id.
        """
        if not expected:
            return
        months: dict[str, list[Expected]] = defaultdict(list)
        for one in expected.values():
            months[month_of(one.sealed.committed_at)].append(one)
        done = list(self._months)
        cursor.execute(_OF_CHANGES, [OPERATIONS, self.number, max(expected).hex(), min(expected).hex()])
        single = {number: found for number, *found in cursor.fetchall()}
        done += [(number, kind, "", 0) for number, (kind, *_) in single.items()]
        for number, kind, month, done_at in sorted(done):
            if number in single:
                _apply_single(kind, *(bytes(packed) for packed in single[number][1:]), expected=expected)
                continue
            for one in months.get(month, ()):
                # A worker that is behind writes to a month that was dropped before.
                one.is_dropped = kind == "month" and one.sealed_at < done_at
                if kind == "imported" and one.is_removed:
                    one.is_removed, one.is_returned = False, True

    def added(self, cursor: Any, ids: Sequence[bytes]) -> dict[bytes, SealedChange]:
        """Return those of some changes that the package itself has added, such as records of erasures.

        Args:
            cursor: A cursor of psycopg2.
            ids: The ids of changes that no worker has sealed.
        """
        found: dict[bytes, SealedChange] = {}
        if ids:
            wanted = set(ids)
            cursor.execute(_OF_CHANGES, [OPERATIONS, self.number, max(ids).hex(), min(ids).hex()])
            for _number, kind, identifiers, digests, salts in cursor.fetchall():
                packed = bytes(identifiers), b"", bytes(digests), bytes(salts), b""
                link = Link(0, kind, "{}", 0, b"", *packed)
                for number in range(len(link.ids) // ID):
                    change, digest, salt = link.sealed(number)
                    if change in wanted and kind == "replaced":
                        found[change] = SealedChange(change, digest, salt, 0, 0)
        return found

    def lines(self) -> Iterator[str]:
        """Yield what was done, one line for each kind and whoever did it."""
        for (kind, by), count in self._counts.items():
            word = _WORDS.get(kind, kind)
            yield f"{_shown(self._last[kind, by])}: {count:,} changes {word}{by}"


def month_of(microseconds: int) -> str:
    """Return the month of a moment, in microseconds since 2000-01-01 UTC, as ``2026-11``."""
    return _shown(microseconds)[:7]


def _shown(microseconds: int) -> str:
    try:
        return f"{moment_of(microseconds):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return "at no moment"


def _apply_single(
    kind: str, ids: bytes, digests: bytes, salts: bytes, *, expected: Mapping[bytes, Expected]
) -> None:
    link = Link(0, kind, "{}", 0, b"", ids, b"", digests, salts, b"")
    for number in range(len(ids) // ID):
        change, digest, salt = link.sealed(number)
        one = expected.get(change)
        if one is not None:
            if kind == "replaced":
                one.digest, one.salt = digest, salt
            else:
                one.is_removed = True


def _by(kind: str, says: Mapping[str, Any]) -> str:
    who = says.get("who")
    told = who if isinstance(who, dict) else {}
    name = told.get("user") or told.get("db_user") or told.get("os_user") or says.get("role")
    words = f" of {says['month']}" if kind in ("month", "imported") and "month" in says else ""
    words += f" by {name}" if name else ""
    words += f" with {told['command']}" if told.get("command") else ""
    return words + (f" ({told['reason']})" if told.get("reason") else "")


def _bytes(text: Any) -> bytes:
    try:
        return bytes.fromhex(str(text).replace("-", ""))
    except ValueError:
        return b""
