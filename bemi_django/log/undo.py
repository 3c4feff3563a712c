"""The one door from the log to ``bemi_django.revert``.

A revert reads changes, so it depends on the model and its querysets; their methods ``revert()`` are a
convenience that leads back. They import it here, when they are called, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bemi_django.log.change import Change
    from bemi_django.revert import OnConflict as OnConflict
    from bemi_django.revert import Plan as Plan


def revert(changes: Iterable[Change], **options: Any) -> Plan:
    """Undo changes: see :func:`bemi_django.revert.revert`."""
    from bemi_django.revert import revert as revert_changes

    return revert_changes(changes, **options)
