"""Register handlers: ``@on_change(Model)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from django.db.models import Model

    from bemi_django.log.change import ChangeQuerySet
    from bemi_django.models import Change

#: The module of an app that has its handlers.
MODULE = "changes"
#: Operations of rows. Others are delivered only if a handler asks for them.
ROWS = ("CREATE", "UPDATE", "DELETE")
OPERATIONS = (*ROWS, "BASELINE", "TRUNCATE", "SKIPPED", "GAP", "EVENT")

Function = TypeVar("Function", bound="Callable[[Any], object]")


class Handler(NamedTuple):
    """A function and the changes it is called with; its bookmark is stored under ``name``."""

    name: str
    function: Callable[[Change], object]
    #: None if it is called with the changes of all tables.
    model: type[Model] | None
    columns: tuple[str, ...]
    operations: tuple[str, ...]
    since: datetime | Literal["beginning"] | None
    using: str | None
    retries: int
    is_recursive: bool
    #: Narrows the changes down further.
    narrow: Callable[[ChangeQuerySet], ChangeQuerySet] | None = None


registered: dict[str, Handler] = {}

#: With what the names of handlers begin that people add and remove while the worker runs.
CHANGING = "alert:"


class ChangingHandlers(NamedTuple):
    """Where these are found: whether there can be any, and those of the database with an alias."""

    are_possible: Callable[[], bool]
    find: Callable[[str], list[Handler]]


_changing: list[ChangingHandlers] = []


def add_changing(source: ChangingHandlers) -> None:
    """Let handlers be found that people add and remove. Their names begin with ``CHANGING``."""
    if source not in _changing:
        _changing.append(source)


def are_changing() -> bool:
    """Return whether people can add handlers."""
    return any(source.are_possible() for source in _changing)


def changing(alias: str) -> list[Handler]:
    """Return the handlers that people have added, of changes of the database with an alias."""
    return [handler for source in _changing if source.are_possible() for handler in source.find(alias)]


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
    """Call the decorated function with each committed change of a model.

    Put ``@on_change(Product, fields=["price"])`` into ``changes.py`` of an app. ``manage.py bemi run`` calls
    the function with a :class:`~bemi_django.models.Change`, at least once, in commit order.

    Args:
        model: The model; its subclasses' tables are not included.
        fields: If given, only updates that change one of these fields are delivered. Inserts and deletes
            are always delivered.
        operations: Operations to deliver.
        since: Where a new handler begins: None for the present, an aware datetime, or ``"beginning"``.
        using: Alias of the database whose changes are delivered; by default the one that the router writes
            the model to.
        name: Name under which progress is stored; by default the function's module and name, and the model.
        retries: Number of further attempts after a failure. Then the change is stored as undelivered.
        recursive: Whether the handler is also called with changes that it made itself.

    Raises:
        FieldDoesNotExist: The model does not have a field.
        TypeError: The function is a coroutine function, or an argument has the wrong type.
        ValueError: An argument is not valid.
    """
    _check(fields, operations, since)
    columns = tuple(_column(model, field) for field in fields)

    def register(function: Function) -> Function:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                "a handler cannot be a coroutine function: decorate asgiref.sync.async_to_sync(handler)"
            )
        given = name or f"{'.'.join(_origin(function))}:{model._meta.label}"
        _add(Handler(given, function, model, columns, tuple(operations), since, using, retries, recursive))
        return function

    return register


def discover() -> list[Handler]:
    """Import ``changes.py`` of every installed app and return all handlers."""
    from django.utils.module_loading import autodiscover_modules

    autodiscover_modules(MODULE)
    return list(registered.values())


def of_database(alias: str) -> list[Handler]:
    """Return the handlers of changes of the database with an alias."""
    from django.db import router

    return [
        item
        for item in discover()
        if (item.using or (item.model and router.db_for_write(item.model))) == alias
    ]


def _add(handler: Handler) -> None:
    known = registered.setdefault(handler.name, handler)
    if known.function is not handler.function and _origin(known.function) != _origin(handler.function):
        raise ValueError(f"there is another handler {handler.name!r}: pass another name=")
    registered[handler.name] = handler


def _origin(function: Callable[..., object]) -> tuple[str, str]:
    """Return module and name, which stay the same when the module is imported again."""
    try:
        return function.__module__, function.__qualname__
    except AttributeError:
        raise ValueError("the handler must be a named function; wrap it in one") from None


def _check(
    fields: Collection[str], operations: Collection[str], since: datetime | Literal["beginning"] | None
) -> None:
    if isinstance(fields, str) or isinstance(operations, str):
        raise TypeError("fields and operations must be lists: on_change(Product, fields=['price'])")
    if unknown := sorted(set(operations) - set(OPERATIONS)):
        raise ValueError(f"unknown operation: {', '.join(map(str, unknown))}; use {', '.join(OPERATIONS)}")
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since must be an aware datetime: django.utils.timezone.make_aware(since)")
    elif since not in (None, "beginning"):
        raise ValueError('since must be an aware datetime, "beginning", or None for the present')


def _column(model: type[Model], name: str) -> str:
    field: Any = model._meta.get_field(name)
    if getattr(field, "many_to_many", False):
        raise ValueError(f"{name} is stored in another table: use on_change({model.__name__}.{name}.through)")
    column: str | None = getattr(field, "column", None)
    if column is None:
        raise ValueError(f"{name} is not a column of {model._meta.label}")
    if field not in model._meta.concrete_model._meta.local_fields:  # type: ignore[union-attr]
        raise ValueError(f"{name} is a column of another table: use on_change({field.model.__name__})")
    return column
