"""Mark instances that were read in the past, so that they are not saved by mistake."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.models import Model
from django.db.models.signals import post_init, pre_save

from bemi_django.exceptions import PastIsReadOnly
from bemi_django.log.keys import key_of, models_of
from bemi_django.log.places import table_name
from bemi_django.time_travel.erased_rows import ErasedRows

_MARK = "bemi_past"
_lock = threading.Lock()
_open_blocks = 0


@contextmanager
def marking() -> Iterator[None]:
    """Mark instances that are made inside the block by threads whose connection is in the past."""
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def allow_save(instance: Model) -> None:
    """Allow ``save()`` and ``delete()`` of an instance read in the past: saving restores the old row."""
    instance._state.__dict__.pop(_MARK, None)
    instance.__dict__.pop("delete", None)
    for name in instance.__dict__.get("unknown_fields", ()):
        # Saving must not overwrite what is not known: Django leaves out deferred fields.
        instance.__dict__.pop(name, None)


def _count(difference: int) -> None:
    """Connect the receivers only while blocks are open: post_init slows down every instance."""
    global _open_blocks
    with _lock:
        _open_blocks += difference
        if _open_blocks:
            post_init.connect(_mark, dispatch_uid="bemi_django")
            pre_save.connect(_refuse_save, dispatch_uid="bemi_django")
        else:
            post_init.disconnect(dispatch_uid="bemi_django")


def _mark(instance: Model, **kwargs: Any) -> None:
    aliases = [c.alias for c in connections.all(initialized_only=True) if getattr(c, "bemi_past", None)]
    if aliases:
        instance.__dict__["unknown_fields"] = _unknown_fields(instance, aliases)
        instance._state.__dict__[_MARK] = aliases
        # With a receiver of pre_delete, Django would fetch every row that a queryset deletes.
        instance.__dict__["delete"] = _refuse_delete


def _unknown_fields(instance: Model, aliases: list[str]) -> frozenset[str]:
    """Return the names of the fields whose values of then the log does not know: they are None."""
    hidden = {
        (place.rpartition(".")[2], column)
        for alias in aliases
        for place, columns in connections[alias].bemi_past.hidden.items()  # type: ignore[attr-defined]
        for column in columns
    }
    hidden |= {(table, column) for alias in aliases for table, column in _erased(instance, alias)}
    if not hidden:
        return frozenset()
    fields: Any = instance._meta.concrete_fields
    return frozenset(
        field.attname for field in fields if (table_name(field.model)[1], field.column) in hidden
    )


def _erased(instance: Model, alias: str) -> Iterator[tuple[str, str]]:
    """Yield the columns, with their table, whose values of then were erased: those that are None."""
    erased: ErasedRows | None = connections[alias].bemi_past.erased  # type: ignore[attr-defined]
    if erased is None or instance.pk is None:
        return
    values = instance.__dict__
    for model in models_of(instance):
        table = table_name(model)[1]
        fields = model._meta.concrete_fields
        empty = {str(field.column) for field in fields if values.get(field.attname) is None}
        if empty := empty & erased.columns_of(table):
            found = erased.of_row(alias, table, key_of(instance, model))
            yield from ((table, column) for column in empty & found)


def _refuse_save(instance: Model, **kwargs: Any) -> None:
    aliases = instance._state.__dict__.get(_MARK)
    if aliases is None:
        return
    if instance._state.adding or instance._state.db not in aliases:
        allow_save(instance)
        return
    raise PastIsReadOnly(
        f"{_named(instance)} was read in the past: call time_travel.allow_save(instance) first"
    )


def _refuse_delete(*args: Any, **kwargs: Any) -> None:
    raise PastIsReadOnly("the instance was read in the past: call time_travel.allow_save(instance) first")


def _named(instance: Model) -> str:
    return f"{instance._meta.label} {instance.pk}"
