"""Describe why a handler failed."""

from __future__ import annotations

import traceback
from pathlib import Path

#: The reason of an attempt that was counted but never finished.
CRASHED = "the process ended, or lost its connection, while it handled the change"
_MOST_CHARACTERS = 1000


def origin_of(error: BaseException) -> str:
    """Return the type of an error and where it was raised, without values of rows: safe to log."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def reason_of(error: BaseException) -> str:
    """Return the text that ``_bemi.undelivered`` stores; it may contain values of rows."""
    return f"{origin_of(error)}: {error}".replace("\0", "")[:_MOST_CHARACTERS]
