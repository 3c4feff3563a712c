"""Rows and batches on their way to the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.selection.omissions import Omissions
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched


class Pending(NamedTuple):
    """The fields of a row as COPY takes them, with the change and the message it was made from.

    A :class:`LargeCopyRow` stands for the fields of a large row; ``bytes()`` makes them of it.
    """

    row: bytes
    change: Stitched | ChangeHeader
    message: bytes


#: Makes one of its fields, in half of the time of :class:`Pending`.
pending_of: Callable[[tuple[bytes, Stitched | ChangeHeader, bytes]], Pending] = partial(
    tuple.__new__, Pending
)

#: Writes a row without the values that are not text, and returns a letter of the rest.
Outline = Callable[[Pending], tuple[bytes, RejectedMessage]]


class Batch(NamedTuple):
    """Rows and letters that are sent together.

    The checkpoint moves from ``begin`` to ``end`` with them; ``end`` is None for a part of a transaction that
    is still being read. ``committed_at`` is the commit time of the last transaction, in microseconds since
    2000-01-01 UTC, and ``transactions`` are the ids of all of them. ``omissions`` tell what was left out.
    """

    rows: list[Pending]
    letters: list[RejectedMessage]
    begin: int
    end: int | None = None
    committed_at: int | None = None
    transactions: Sequence[int] = ()
    omissions: Omissions | None = None


@dataclass(slots=True)
class Gathered:
    """Rows and letters that wait to be sent; ``size`` is theirs in bytes."""

    rows: list[Pending] = field(default_factory=list)
    letters: list[RejectedMessage] = field(default_factory=list)
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.letters)

    def take_over(self, other: Gathered) -> None:
        """Append what ``other`` holds, and empty it."""
        self.rows += other.rows
        self.letters += other.letters
        self.size += other.size
        other.rows.clear()
        other.letters.clear()
        other.size = 0
