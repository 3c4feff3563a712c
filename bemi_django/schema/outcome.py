"""What a ``sync`` has done."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """Lines that say what was done, and lines that say what could not be done, and why."""

    done: list[str]
    failed: list[str]
