"""The one import from the log to ``bemi_django.revert``.

A revert reads changes, so ``bemi_django.revert`` imports the model and its queryset. Their method
``revert()`` is a convenience that leads back: this module imports the revert when it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bemi_django.revert import OnConflict, Plan


class Revertible:
    """A change, or changes that can be iterated over."""

    def revert(
        self,
        *,
        dry_run: bool = False,
        on_conflict: OnConflict = "stop",
        cascade: bool = True,
        fields: Collection[str] | None = None,
        values: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Plan:
        """Undo the change, or these changes in one transaction; see :func:`bemi_django.revert.revert`."""
        from bemi_django.revert import revert

        changes: Any = self if isinstance(self, Iterable) else [self]
        return revert(
            changes,
            dry_run=dry_run,
            on_conflict=on_conflict,
            cascade=cascade,
            fields=fields,
            values=values,
            reason=reason,
        )
