"""The database as it was: :func:`as_of` for a block, :func:`read_as_of` and AsOfQuerySet for one query."""

from __future__ import annotations

from bemi_django.time_travel.block import as_of
from bemi_django.time_travel.instances import allow_save
from bemi_django.time_travel.querysets import AsOfQuerySet, read_as_of

__all__ = ["AsOfQuerySet", "allow_save", "as_of", "read_as_of"]
