"""Records that cannot be taken before there is a log, which the first one that can be begins."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django.exceptions import ReplicationError

#: Records, and bytes of them, that may come before the first one that is Debezium's.
_MOST, _LARGEST = 1000, 16 * 1024 * 1024


class EarlyRefusals:
    """Holds them, and ends the session when there are too many."""

    def __init__(self) -> None:
        self._held: list[tuple[bytes, str]] = []
        self._size = 0

    def add(self, data: bytes, reason: str) -> None:
        """Hold one.

        Raises:
            ReplicationError: There are too many.
        """
        self._held.append((data, reason))
        self._size += len(data)
        if len(self._held) > _MOST or self._size > _LARGEST:
            self.require_none()

    def require_none(self) -> None:
        """Check that there is none.

        Raises:
            ReplicationError: There are some.
        """
        if self._held:
            raise ReplicationError(f"no record of Debezium: {self._held[0][1]}")

    def taken(self) -> Iterator[tuple[bytes, str]]:
        """Yield them with their reasons, and forget them."""
        held, self._held = self._held, []
        yield from held
