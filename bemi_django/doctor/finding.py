"""A finding, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from django.core.checks import CheckMessage

#: Findings of the system checks that keep changes from being recorded.
_STOPPING = frozenset(
    ("bemi.E002", "bemi.E003", "bemi.E007", "bemi.E008", "bemi.E029", "bemi.W004", "bemi.W005")
)  # fmt: skip


class Finding(NamedTuple):
    """Something that an administrator should know.

    Attributes:
        id: What it is, such as ``bemi.D001``.
        message: What was found.
        remedy: The command or setting that mends it.
        stops: Whether it keeps changes from being recorded, or the application from writing.
    """

    id: str
    message: str
    remedy: str
    stops: bool = False


def of_check(message: CheckMessage) -> Finding:
    """Return a message of a system check as a finding."""
    identifier = str(message.id)
    return Finding(identifier, str(message.msg), str(message.hint or ""), identifier in _STOPPING)
