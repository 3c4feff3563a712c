"""What is left out of the log, from the selection."""

from __future__ import annotations

from bemi_django import selection
from bemi_django.ingest.selection.condition import Condition
from bemi_django.ingest.selection.rules import Selection


def configured_selection() -> Selection:
    """Return what the settings and the models say is left out of the log.

    Raises:
        ImproperlyConfigured: A setting is wrong.
    """
    return Selection(
        selection.ignored_columns(),
        selection.ignores_unchanged(),
        [(pattern, Condition(name, function)) for pattern, name, function in selection.conditions()],
    )
