"""The settings of sinks. Each has a function that reads it whenever it is called."""

from __future__ import annotations

from django.conf import settings

from bemi_django.exceptions import ReplicationError

#: Characters of a secret that nobody guesses.
_SHORTEST = 16


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
