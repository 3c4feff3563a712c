"""Recognise a transaction that the server fails to send again and again."""

from __future__ import annotations

from bemi_django.exceptions import Unsendable, first_line
from bemi_django.wire.lsn import format_lsn

#: The number of equal failures at the same place after which the error is not expected to pass.
_ATTEMPTS = 3


class Obstacle:
    """Counts the failures of the sessions of one worker at the same place and with the same error."""

    def __init__(self) -> None:
        self._place: tuple[int, str] | None = None
        self._failures = 0

    def meet(self, error: Unsendable, checkpoint: int) -> Unsendable:
        """Count a failure.

        Args:
            error: What the server said, and where.
            checkpoint: Where the log ends.

        Returns:
            The error, with advice for the operator if it will not pass.
        """
        reason = first_line(error)
        place = (error.lsn or checkpoint, reason)
        self._failures = self._failures + 1 if place == self._place else 1
        self._place = place
        if self._failures < _ATTEMPTS:
            return error
        how_often = f"{reason}, {self._failures} attempts"
        if error.lsn is not None:
            lsn = format_lsn(error.lsn)
            what = f"the transaction that commits at {lsn} ({how_often})"
            remedy = f"run 'manage.py bemi skip {lsn}' to leave the transaction out of the log, as a gap"
        else:
            what = f"what follows {format_lsn(checkpoint)} ({how_often})"
            remedy = "find out where the transaction commits (pg_waldump) and run 'manage.py bemi skip LSN'"
        message = (
            f"the server cannot send {what} and keeps all WAL from there on: raise its memory, or {remedy}"
        )
        return Unsendable(message, error.lsn, is_stuck=True)
