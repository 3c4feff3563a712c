"""A cache that is bounded by the bytes it holds, not by its entries: one value may have megabytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class SizedCache(Generic[_Key]):
    """Remembers answers, the least recently used first to go.

    Args:
        ask: Returns the answer for a key and a value; what it raises is not remembered.
        max_bytes: Bytes of values and answers that are kept.
    """

    def __init__(self, ask: Callable[[_Key, bytes], bytes], max_bytes: int = 4 * 1024 * 1024) -> None:
        self._ask = ask
        self._max_bytes = max_bytes
        self._answers: OrderedDict[tuple[_Key, bytes], bytes] = OrderedDict()
        #: Bytes that are kept now.
        self.size = 0

    def __call__(self, key: _Key, value: bytes) -> bytes:
        """Return the answer, from the cache if it is there."""
        entry = key, value
        found = self._answers.get(entry)
        if found is not None:
            self._answers.move_to_end(entry)
            return found
        answer = self._ask(key, value)
        size = len(value) + len(answer)
        # A large value would drive out many small ones.
        if size <= self._max_bytes // 16:
            self._answers[entry] = answer
            self.size += size
            while self.size > self._max_bytes:
                (_, gone), lost = self._answers.popitem(last=False)
                self.size -= len(gone) + len(lost)
        return answer
