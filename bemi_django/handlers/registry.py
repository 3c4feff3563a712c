"""Functions that are told of committed changes, whoever made them and however."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from django.db.models import Model

    from bemi_django.models import Change

#: The module of an app where its handlers are.
MODULE = "changes"
#: The operations that a change of a row may have; those of a table and of the log have to be asked for.
ROWS = ("CREATE", "UPDATE", "DELETE")
OPERATIONS = (*ROWS, "TRUNCATE", "SKIPPED", "GAP")

Function = TypeVar("Function", bound="Callable[[Any], object]")


class Handler(NamedTuple):
    """A function and the changes that it is to see; ``name`` is what its progress is filed under."""

    name: str
    function: Callable[[Change], object]
    model: type[Model]
    columns: tuple[str, ...]
    operations: tuple[str, ...]
    since: datetime | Literal["beginning"] | None
    using: str | None
    retries: int
    is_recursive: bool


registered: dict[str, Handler] = {}


def on_change(
    model: type[Model],
    *,
    fields: Collection[str] = (),
    operations: Collection[str] = ROWS,
    since: datetime | Literal["beginning"] | None = None,
    using: str | None = None,
    name: str | None = None,
    retries: int = 5,
    recursive: bool = False,
) -> Callable[[Function], Function]:
    """Call the decorated function with each committed :class:`~bemi_django.models.Change` of a model.

    ``@on_change(Product, fields=["price"])`` in ``changes.py`` of an app. At least once, in the order of
    commits, by ``manage.py bemi run``. With ``fields`` updates count that gave one of them another value;
    rows that come or go always do. ``since`` is where a new handler begins: None for the present, an aware
    datetime, or ``"beginning"``. ``using`` is the alias of the database, else that of the router. A change
    on which ``retries`` more attempts fail is kept aside. What the handler itself wrote it is told of only
    if it is ``recursive``.

    Raises FieldDoesNotExist, and ValueError or TypeError for what cannot work.
    """
    _check(fields, operations, since)
    columns = tuple(_column(model, field) for field in fields)

    def register(function: Function) -> Function:
        if inspect.iscoroutinefunction(function):
            raise TypeError("a handler is called, not awaited: decorate asgiref.sync.async_to_sync(handler)")
        given = name or f"{'.'.join(_origin(function))}:{model._meta.label}"
        _add(Handler(given, function, model, columns, tuple(operations), since, using, retries, recursive))
        return function

    return register


def discover() -> list[Handler]:
    """All handlers, after ``changes.py`` of every installed app was imported."""
    from django.utils.module_loading import autodiscover_modules

    autodiscover_modules(MODULE)
    return list(registered.values())


def of_database(alias: str) -> list[Handler]:
    """The handlers of changes of one database."""
    from django.db import router

    return [item for item in discover() if (item.using or router.db_for_write(item.model)) == alias]


def _add(handler: Handler) -> None:
    known = registered.setdefault(handler.name, handler)
    if known.function is not handler.function and _origin(known.function) != _origin(handler.function):
        raise ValueError(f"there is another handler {handler.name!r} already: give it a name=")
    registered[handler.name] = handler


def _origin(function: Callable[..., object]) -> tuple[str, str]:
    """Module and name: the same again when the module is imported anew."""
    try:
        return function.__module__, function.__qualname__
    except AttributeError:
        raise ValueError("what is no function has no name: wrap it in one") from None


def _check(
    fields: Collection[str], operations: Collection[str], since: datetime | Literal["beginning"] | None
) -> None:
    if isinstance(fields, str) or isinstance(operations, str):
        raise TypeError("fields and operations are lists: on_change(Product, fields=['price'])")
    if unknown := sorted(set(operations) - set(OPERATIONS)):
        raise ValueError(f"no such operation: {', '.join(unknown)}; there are {', '.join(OPERATIONS)}")
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since needs a time zone: django.utils.timezone.make_aware(since)")
    elif since not in (None, "beginning"):
        raise ValueError('since is a datetime, "beginning", or None for the present')


def _column(model: type[Model], name: str) -> str:
    field: Any = model._meta.get_field(name)
    if getattr(field, "many_to_many", False):
        raise ValueError(f"{name} has a table of its own: on_change({model.__name__}.{name}.through)")
    column: str | None = getattr(field, "column", None)
    if column is None:
        raise ValueError(f"{name} is no column of {model._meta.label}")
    if field not in model._meta.concrete_model._meta.local_fields:  # type: ignore[union-attr]
        raise ValueError(f"{name} is a column of another table: on_change({field.model.__name__})")
    return column
