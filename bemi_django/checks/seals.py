"""Checks of the settings of tamper evidence."""

from __future__ import annotations

import importlib.util
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from bemi_django.seals import configured
from bemi_django.seals.anchors import is_folder


def check_seals() -> list[CheckMessage]:
    """Return what is wrong with ``BEMI_TAMPER_EVIDENCE``, ``BEMI_ANCHORS`` and ``BEMI_ANCHOR_EVERY``."""
    value: Any = getattr(settings, "BEMI_TAMPER_EVIDENCE", False)
    if not isinstance(value, bool):
        return _wrong(f"BEMI_TAMPER_EVIDENCE is {value!r}, neither True nor False")
    try:
        places = configured.anchors()
        configured.anchor_every()
    except ValueError as error:
        return _wrong(str(error))
    if places and not value:
        return _wrong("BEMI_ANCHORS is set, but nothing is sealed: BEMI_TAMPER_EVIDENCE is False")
    if any(map(is_folder, places)) and importlib.util.find_spec("pyarrow") is None:
        hint = "Run pip install 'bemi-django-wal[archive]'."
        return [Error("BEMI_ANCHORS needs pyarrow, which is not installed.", hint=hint, id="bemi.E023")]
    return []


def _wrong(message: str) -> list[CheckMessage]:
    hint = "Correct the setting, or remove it: see docs/tamper-evidence.md."
    return [Error(f"{message}.", hint=hint, id="bemi.E023")]
