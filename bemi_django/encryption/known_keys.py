"""The keys that a process remembers while it decrypts many values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from bemi_django.encryption.subject_key import SubjectKey

#: Keys that are remembered.
_REMEMBERED = 10_000

#: Returns keys by their ids: those that are left, and None for one that cannot be decrypted.
FindKeys = Callable[[Collection[str]], Mapping[str, "SubjectKey | None"]]


class KnownKeys:
    """Keys that were asked for, each once until too many are remembered.

    Args:
        find: Finds keys.

    Attributes:
        found: Keys by their ids: None for one that cannot be decrypted, nothing for one that is not there.
    """

    def __init__(self, find: FindKeys) -> None:
        self.found: dict[str, SubjectKey | None] = {}
        self._find = find
        self._asked: set[str] = set()

    def learn(self, wanted: Collection[str]) -> None:
        """Ask at once for keys; all of these are known until others are asked for."""
        numbers = set(wanted)
        if numbers <= self._asked:
            return
        if len(self._asked) > _REMEMBERED:
            self._asked, self.found = set(), {}
        numbers -= self._asked
        self._asked |= numbers
        self.found.update(self._find(numbers))
