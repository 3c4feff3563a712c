"""Fields that a save sets itself, whatever value they had: moments of ``renewed_fields``, and counters.

A counter, such as the version of an optimistic lock, has a ``pre_save()`` of its own that goes on from the
value that the row has.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models.base import ModelState

from bemi_django.log.values.renewed_fields import is_renewed

_INTEGERS = frozenset(
    f"{size}IntegerField" for size in ("", "Big", "Small", "Positive", "PositiveBig", "PositiveSmall")
)
#: Versions that no field starts from.
_OLD: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(_INTEGERS, (41, 7001)),
    "UUIDField": (UUID(int=41), UUID(int=7001)),
}
#: Fields whose answers are remembered.
_REMEMBERED = 4096


def is_saved(field: Any) -> bool:
    """Tell whether a field gets another value whenever a row is saved, which nobody chooses."""
    return is_renewed(field) or is_counted(field)


def is_counted(field: Any) -> bool:
    """Tell whether a field goes on to another value whenever a row is saved, such as the next integer."""
    # What Django's own fields do is known.
    return not type(field).pre_save.__module__.startswith("django.") and _counts(field)


def next_value(field: Any, value: Any) -> Any:
    """Return what a save makes of the value of a field.

    Args:
        field: A field that is counted.
        value: The value that the row has.
    """
    return field.pre_save(_instance(field, value), False)


@lru_cache(_REMEMBERED)
def _counts(field: Any) -> bool:
    kind = field.get_internal_type()
    try:
        found = [(old, next_value(field, old)) for old in _OLD.get(kind, ())]
    except Exception:
        # It depends on other fields of the row.
        return False
    if kind in _INTEGERS:
        return all(type(new) is int and new > old for old, new in found)
    return bool(found) and all(isinstance(new, UUID) and new != old for old, new in found)


def _instance(field: Any, value: Any) -> Any:
    """Return an object of the model of a field that has nothing but its value."""
    model = getattr(field, "model", None)
    if not isinstance(model, type) or not issubclass(model, models.Model):
        return SimpleNamespace(pk=1, **{field.attname: value})
    instance = model.__new__(model)
    empty = {one.attname: None for one in model._meta.concrete_fields}
    instance.__dict__.update({**empty, field.attname: value, "_state": ModelState()})
    instance._state.adding = False
    return instance
