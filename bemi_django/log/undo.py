"""The one import from the log to ``bemi_django.revert``.

A revert reads changes, so ``bemi_django.revert`` imports the model and its queryset. Their methods
``revert()`` are a convenience that leads back: this module imports the revert when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bemi_django.revert import Changes
    from bemi_django.revert import OnConflict as OnConflict
    from bemi_django.revert import Plan as Plan


def revert(changes: Changes, *, dry_run: bool, on_conflict: OnConflict, cascade: bool) -> Plan:
    """Undo changes; see :func:`bemi_django.revert.revert`."""
    from bemi_django.revert import revert as revert_changes

    return revert_changes(changes, dry_run=dry_run, on_conflict=on_conflict, cascade=cascade)
