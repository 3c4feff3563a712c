"""What models declare about their recording, with the decorator ``track``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from bemi_django.wire.name_pattern import ColumnPattern, TablePattern, literal
from bemi_django.wire.table_name import of_db_table

_Model = TypeVar("_Model", bound=type[Any])
#: ``function(table, before, after)``; see ``BEMI_CONDITIONS``.
ConditionFunction = Callable[[str, dict[str, Any], dict[str, Any]], object]


class Declaration(NamedTuple):
    """What one model declares."""

    model: Any
    ignore: Sequence[str]
    condition: ConditionFunction | None
    exclude: bool

    @property
    def table(self) -> TablePattern:
        """The model's table; without a schema, in all schemas."""
        return table_of(self.model)

    def columns(self) -> Iterator[ColumnPattern]:
        """Yield the columns of the fields to ignore; those of a parent model are in the parent's table."""
        for name in self.ignore:
            field = self._field(name)
            if field is not None and not is_key(field):
                yield ColumnPattern(*table_of(field.model), literal(field.column))

    def unknown_fields(self) -> list[str]:
        """Return the names that are of no field with a column."""
        return [name for name in self.ignore if self._field(name) is None]

    def key_fields(self) -> list[str]:
        """Return the fields to ignore that are part of a primary key, which is always recorded."""
        found = ((name, self._field(name)) for name in self.ignore)
        return [name for name, field in found if field is not None and is_key(field)]

    def _field(self, name: str) -> Any:
        fields = self.model._meta.concrete_fields
        return next((field for field in fields if name in (field.name, field.attname, field.column)), None)


_declared: dict[str, Declaration] = {}


def track(
    *, ignore: Iterable[str] = (), condition: ConditionFunction | None = None, exclude: bool = False
) -> Callable[[_Model], _Model]:
    """Return a decorator for a model that says what of it is recorded.

    It adds to the settings, so that a worker has to be restarted to know of it, as of any setting::

        @track(ignore=["last_seen"])
        class Visit(models.Model): ...

    Args:
        ignore: Fields whose values are not recorded, as in ``BEMI_IGNORE_COLUMNS``.
        condition: A function that tells which changes are recorded, as in ``BEMI_CONDITIONS``.
        exclude: Whether the table is not tracked at all, as in ``BEMI_EXCLUDE``.

    Raises:
        TypeError: What is decorated is no model with a table of its own, or an argument has a wrong type.
    """
    if isinstance(ignore, str):
        raise TypeError(f"ignore is {ignore!r}: give a list of fields")
    if condition is not None and not callable(condition):
        raise TypeError(f"condition is {condition!r}: give a function")
    fields = tuple(ignore)

    def declare(model: _Model) -> _Model:
        meta = getattr(model, "_meta", None)
        if meta is None or meta.abstract:
            raise TypeError(f"{model.__name__} has no table: decorate the models that inherit from it")
        if meta.proxy:
            home = meta.concrete_model.__name__
            raise TypeError(f"{model.__name__} is a proxy and has the table of {home}: decorate {home}")
        _declared[meta.label_lower] = Declaration(model, fields, condition, exclude)
        return model

    return declare


def declarations() -> list[Declaration]:
    """Return what models have declared."""
    return list(_declared.values())


def is_key(field: Any) -> bool:
    """Return whether the column of a field is part of the primary key of its table."""
    keys = getattr(field.model._meta, "pk_fields", [field.model._meta.pk])
    return field in keys


def table_of(model: Any) -> TablePattern:
    """Return the table of a model as a pattern; without a schema, in all schemas."""
    schema, table = of_db_table(model._meta.db_table)
    return TablePattern(literal(schema or "") or "*", literal(table))
