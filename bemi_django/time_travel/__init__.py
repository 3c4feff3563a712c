"""Read the database as it was: ``as_of()`` for a block, ``read_as_of()`` and AsOfQuerySet for one query."""

from __future__ import annotations

from bemi_django.time_travel.as_of_queryset import AsOfQuerySet, read_as_of
from bemi_django.time_travel.block import as_of
from bemi_django.time_travel.moments import JustBefore
from bemi_django.time_travel.save_guard import allow_save

__all__ = ["AsOfQuerySet", "JustBefore", "allow_save", "as_of", "read_as_of"]
