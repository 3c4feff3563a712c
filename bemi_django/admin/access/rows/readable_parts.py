"""Keep one row that cannot be read from taking the others of its page with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

#: How often a part is divided: enough to find one of thousands of rows, or a few of a page.
_MOST_SPLITS = 16

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_Parts = Iterator[tuple[Sequence[_Item], "_Found | None"]]


def readable_parts(
    items: Sequence[_Item], read: Callable[[Sequence[_Item]], _Found | None]
) -> _Parts[_Item, _Found]:
    """Yield parts of some items with what could be read of each, with a limited number of reads.

    Args:
        items: What is read, each once.
        read: Reads some of them at once; returns None if one of these cannot be read.

    Yields:
        A part, and what was read of it; None if it is an item that cannot be read, or not worth more reads.
    """
    found = read(items)
    if found is not None or len(items) < 2:
        yield items, found
        return
    first, last = items[:1], items[-1:]
    ends = read(first), read(last)
    if ends == (None, None):
        # That is less likely to be so of two rows by chance than of all, such as by the type of a column.
        yield items, None
        return
    yield from zip((first, last), ends, strict=True)
    yield from _divided(items[1:-1], read)


def _divided(
    items: Sequence[_Item], read: Callable[[Sequence[_Item]], _Found | None]
) -> _Parts[_Item, _Found]:
    waiting, splits = deque([items] if items else []), 0
    while waiting:
        part = waiting.popleft()
        found = read(part)
        if found is None and len(part) > 1 and splits < _MOST_SPLITS:
            splits += 1
            middle = len(part) // 2
            waiting += [part[:middle], part[middle:]]
        else:
            yield part, found
