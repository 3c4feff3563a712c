"""Fields that get the present whenever a row is saved: by ``auto_now``, or by code of their own."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from django.db import models
from django.utils import timezone

#: Fields whose answers are remembered.
_REMEMBERED = 4096


def is_renewed(field: Any) -> bool:
    """Tell whether a field gets the present whenever a row is saved, whatever value it had.

    Args:
        field: A field of a model. Some of other packages have no ``auto_now``, but set the value themselves.
    """
    if getattr(field, "auto_now", False):
        return True
    if not isinstance(field, (models.DateField, models.TimeField)):
        return False
    # What Django's own fields do is known.
    return not type(field).pre_save.__module__.startswith("django.") and _gives_present(field)


@lru_cache(_REMEMBERED)
def _gives_present(field: Any) -> bool:
    old = _long_ago(field)
    try:
        found = field.pre_save(SimpleNamespace(pk=1, **{field.attname: old}), False)
    except Exception:
        # It depends on other fields of the row.
        return False
    if isinstance(found, datetime):
        now = timezone.now()
        if timezone.is_aware(found) != timezone.is_aware(now):
            return False
        return abs(found - now) < timedelta(days=1)
    if isinstance(found, date):
        return abs(found - date.today()) <= timedelta(days=1)
    return isinstance(found, time) and found != old


def _long_ago(field: Any) -> date | time:
    if isinstance(field, models.DateTimeField):
        moment = datetime(2000, 1, 1)
        return timezone.make_aware(moment) if timezone.is_aware(timezone.now()) else moment
    return date(2000, 1, 1) if isinstance(field, models.DateField) else time(1)
