"""The settings of tamper evidence. Each has a function that reads it whenever it is called."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from django.conf import settings

from bemi_django.secrecy.hidden import HiddenText

#: The longest time between two anchors, in seconds: 30 years, for which a thread can still wait.
_LONGEST = 10**9


def is_sealed() -> bool:
    """Return ``BEMI_TAMPER_EVIDENCE``: whether workers seal the changes that they write."""
    return bool(getattr(settings, "BEMI_TAMPER_EVIDENCE", False))


def anchors() -> list[str]:
    """Return ``BEMI_ANCHORS``: where the newest links are written to.

    Each is the path of a file, the URL of a webhook, or the address of a folder such as
    ``s3://bucket/folder``.

    Raises:
        ValueError: The setting is wrong.
    """
    value: Any = getattr(settings, "BEMI_ANCHORS", ())
    given: Sequence[Any] = (value,) if isinstance(value, (str, PathLike)) else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, (str, PathLike)) for one in given):
        raise ValueError("BEMI_ANCHORS is not a list of paths and addresses")
    # The address of a webhook may hold a token.
    places: list[str] = [HiddenText(fspath(one)) for one in given]
    if not all(places):
        raise ValueError("BEMI_ANCHORS has an empty address")
    return places


def anchor_every() -> float:
    """Return ``BEMI_ANCHOR_EVERY``: the seconds between two anchors.

    Raises:
        ValueError: The setting is wrong.
    """
    value = getattr(settings, "BEMI_ANCHOR_EVERY", 3600)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= _LONGEST:
        raise ValueError(f"BEMI_ANCHOR_EVERY is {value!r}, not a number of seconds from 1 to {_LONGEST}")
    return float(value)
