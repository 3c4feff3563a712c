"""How far handlers are, for people to read."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django.handlers.registry import Handler

#: Pending changes are counted up to this number.
COUNT_TO = 10_000


class Standing(NamedTuple):
    """How far a handler is.

    Attributes:
        handler: The handler.
        pending: Number of changes that it has not got, up to :data:`COUNT_TO`.
        waited: Seconds for which it has handled none, though there was one.
        attempts: Attempts at that one.
        pause: Seconds until it is tried again.
        aside: Number of changes that are undelivered.
    """

    handler: Handler
    pending: int
    waited: float
    attempts: int
    pause: float
    aside: int

    def __str__(self) -> str:
        more = "+" if self.pending == COUNT_TO else ""
        line = f"{self.handler.name}: {self.pending}{more} pending, {self.aside} undelivered"
        if self.attempts:
            line += f"; attempt {self.attempts} failed, the next one is in {max(self.pause, 0):.0f} s"
        return line


class RetriedDeliveries(NamedTuple):
    """How many undelivered changes are handled now, and how many are still undelivered."""

    delivered: int
    kept: int
