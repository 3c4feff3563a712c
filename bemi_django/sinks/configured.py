"""The settings of sinks. Each has a function that reads it whenever it is called."""

from __future__ import annotations

from django.conf import settings

from bemi_django.exceptions import ReplicationError
from bemi_django.sinks.addresses import ExportAddress, parse
from bemi_django.wire.queue_address import QueueAddress

#: Characters of a secret that nobody guesses.
_SHORTEST = 16


def sink_address(url: str | None = None) -> QueueAddress | ExportAddress | None:
    """Return the address of what changes are written to, given or from ``BEMI_SINK``; None for the log.

    Raises:
        ReplicationError: It is not valid.
    """
    url = url or getattr(settings, "BEMI_SINK", None)
    if not url:
        return None
    if not isinstance(url, str):
        raise ReplicationError(f"BEMI_SINK is of the type {type(url).__name__}, and not an address")
    try:
        return parse(url)
    except ValueError as error:
        raise ReplicationError(str(error)) from None


def secret() -> str:
    """Return ``BEMI_SINK_SECRET``, with which receivers check that changes come from here.

    Raises:
        ReplicationError: There is none.
    """
    found = str(getattr(settings, "BEMI_SINK_SECRET", "") or "")
    if len(found) < _SHORTEST:
        raise ReplicationError(
            f"a webhook needs BEMI_SINK_SECRET, a random text of {_SHORTEST} characters or more, with which "
            "the receiver checks signatures"
        )
    return found


def attempts() -> int:
    """Return ``BEMI_SINK_ATTEMPTS``: how often a receiver may refuse a delivery; 0 for any number of times.

    Raises:
        ReplicationError: It is no such number.
    """
    found = getattr(settings, "BEMI_SINK_ATTEMPTS", 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ReplicationError("BEMI_SINK_ATTEMPTS must be a number of attempts, or 0 for any number")
    return found
