"""Write events to the WAL, as logical messages that the worker makes changes of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router

from bemi_django import conf
from bemi_django.capture import context
from bemi_django.events.emission import VIEWED, key_with_masks, message, require_name, statement
from bemi_django.exceptions import BemiError
from bemi_django.log.keys import json_of, key_fields, key_of, stored_value
from bemi_django.log.lossless_json import dumps
from bemi_django.log.places import Place, table_name
from bemi_django.log.printing import key_text
from bemi_django.mask_rules import configured_masks
from bemi_django.masking.flat_types import type_named
from bemi_django.masking.rules import ColumnMask, Rules
from bemi_django.wire import EVENT_PREFIX

logger = logging.getLogger(__name__)

#: An object; or the table of a row without a model, and its key as the log has it.
Row = models.Model | tuple[Place, str]
_SAVEPOINT = "_bemi_event"


def emit(
    event: str,
    of: Row | None = None,
    details: Mapping[str, Any] | None = None,
    *,
    using: str | None = None,
    outlives_rollback: bool = False,
) -> None:
    """Write an event.

    Args:
        event: Its name.
        of: The object, or the row, that it happened to.
        details: What else is known.
        using: Alias of the database that it is written to; by default the one of the object, or ``default``.
        outlives_rollback: Whether it stays if the transaction is rolled back in which it is written.

    Raises:
        ValueError: The name is empty or too long, or the object has no primary key.
        BemiError: No primary of the database is known.
        django.db.Error: The event could not be written.
    """
    require_name(event)
    instance = of if isinstance(of, models.Model) else None
    if instance is not None and instance.pk is None:
        raise ValueError("the object has no primary key: save it before you record what happened to it")
    present = context.current()
    if not conf.captures() or context.is_skipping(present):
        return
    schema, table, key = _named(of)
    rest = message(event, present, details, table, key, schema)
    is_alone = outlives_rollback or event == VIEWED
    known = False
    for alias in _aliases(instance) if using is None else [using]:
        known = True
        if _write(alias, [EVENT_PREFIX, schema, table, rest], is_alone=is_alone):
            return
    if known:
        raise BemiError(
            "the database is a standby: let a router write the model to its primary, an entry of DATABASES"
        )


def try_to_emit(event: str, instance: models.Model | None = None, details: Any = None) -> None:
    """Write an event that outlives a rollback, for code that must not fail because of it."""
    try:
        emit(event, instance, details, outlives_rollback=True)
    except Exception as error:
        # A router, a model or a value may be anything. The text of an error may hold values.
        logger.error("the event %r was not recorded: %s", event, type(error).__name__)


def _write(alias: str, parameters: list[Any], *, is_alone: bool) -> bool:
    """Write to the WAL of a database; return False if it is a standby."""
    connection: Any = connections[alias]
    with (
        connection.cursor() as cursor,
        connection.wrap_database_errors,
        _savepoint(connection, cursor.cursor),
    ):
        version = connection.pg_version // 10_000
        query = statement(lambda name: "%s", is_alone=is_alone, version=version)
        # Past the wrappers of Django's cursor: it is no statement of the application.
        cursor.cursor.execute(query, parameters)
        return bool(cursor.cursor.fetchone()[0])


@contextmanager
def _savepoint(connection: Any, cursor: Any) -> Iterator[None]:
    """Keep what fails in a block out of the transaction that is open, if there is one."""
    if connection.get_autocommit():
        yield
        return
    cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
    try:
        yield
    except Exception:
        # Without a connection there is no transaction to save, and the first error is the one to tell.
        with suppress(Exception):
            cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        raise
    cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")


def _aliases(instance: models.Model | None) -> Iterator[str]:
    """Yield the databases to which the event may be written, the first one that is no standby."""
    found = []
    if instance is not None:
        # With the instance as a hint, a router would lead back to the standby that it was read from.
        found = [instance._state.db, router.db_for_write(instance.__class__)]
    for alias in dict.fromkeys([*found, "default"]):
        if alias is not None and conf.is_source(alias):
            yield alias


def _concrete(instance: models.Model) -> type[models.Model]:
    return instance._meta.concrete_model or instance.__class__


def _named(of: Row | None) -> tuple[str | None, str | None, str | None]:
    """Return the schema, as far as it is known, the table and the key of a row."""
    if of is None:
        return None, None, None
    if isinstance(of, tuple):
        return of[0].schema, of[0].table, of[1]
    schema, table = table_name(_concrete(of))
    return schema, table, _key(of, schema or "public", table)


def _key(instance: models.Model, schema: str, table: str) -> str | None:
    """Return the key of the object's row as the log has it, or None if nothing is kept of it."""
    try:
        rules = configured_masks()
    except ImproperlyConfigured:
        # A check reports it, and the worker does not start.
        return key_of(instance)
    # The table's, which may have columns that the model's has not.
    fields = key_fields(instance.__class__, instance._state.db)
    values = [getattr(instance, field.attname) for field in fields]
    key = key_text([stored_value(field, value) for field, value in zip(fields, values, strict=True)])
    masks = [_mask(rules, schema, table, field) for field in fields]
    return key_with_masks(masks, key, lambda: dumps(json_of(fields[0], values[0])))


def _mask(rules: Rules, schema: str, table: str, field: Any) -> ColumnMask | None:
    """Return the mask of a column of a key, which may refer to a masked one and has its values then."""
    while not (
        found := rules.of_table([(schema, table)], [field.column], [field.column], types=_type(field))
    ):
        if not isinstance(field, models.ForeignKey):
            return None
        field = field.target_field
        named, table = table_name(field.model)
        schema = named or schema
    return found[field.column]


def _type(field: Any) -> dict[str, int]:
    """Return the type of a column, as far as it is known that values of it have no keys in them."""
    connection: Any = connections[router.db_for_write(field.model)]
    return {field.column: type_named(field.db_type(connection))}
