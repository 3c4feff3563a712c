"""The time of the season, and what the server's clock showed then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

import time_machine


class Clock:
    """Play actions at moments of the past; remember when that was."""

    def __init__(self) -> None:
        #: The real moments at which actions began, and the moments that they were played at.
        self.real: list[datetime] = []
        self.played: list[datetime] = []

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        self.real.append(datetime.now(timezone.utc))
        self.played.append(moment)
        with time_machine.travel(moment):
            yield
