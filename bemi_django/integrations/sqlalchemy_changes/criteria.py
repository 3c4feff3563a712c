"""Criteria for changes, to be combined in ``select(Change).where(...)``."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from datetime import timezone as datetime_timezone
from typing import Any

from sqlalchemy import JSON, Enum, Table, Text, TypeDecorator, and_, cast, func, inspect, literal, or_, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import object_session

from bemi_django.integrations.sqlalchemy_changes.mapped_change import Change
from bemi_django.integrations.sqlalchemy_changes.mapped_table import (
    column_of,
    plain,
    schema_of,
    stored,
    value_of,
)
from bemi_django.integrations.sqlalchemy_changes.session_log import SessionLog, changes_of_row
from bemi_django.log.lossless_json import loads
from bemi_django.log.printing import json_text, key_text
from bemi_django.log.values.json_values import contained, contained_in_context, contained_user
from bemi_django.log.values.value_forms import forms_of
from bemi_django.wire import UNVERIFIED_KEY

_ANY = object()


def for_table(table: str, schema: str = "public", database: str | None = None) -> Any:
    """Select the changes of a table.

    Args:
        table: Name of the table.
        schema: Name of its schema.
        database: Name of the database, if the log holds the changes of several.
    """
    criterion = and_(Change.table == table, Change.schema == schema)
    return criterion if database is None else and_(criterion, Change.database == database)


def for_model(model: Any, database: str | None = None) -> Any:
    """Select the changes of a model's tables.

    A table without a schema is the one that the search path of the session leads to, or one of ``public``.

    Args:
        model: A mapped class, or a ``Table``.
        database: Name of the database, if the log holds the changes of several.
    """
    tables = [model] if isinstance(model, Table) else inspect(model).tables
    return or_(*(_of(table, database) for table in tables))


def for_object(
    instance: Any,
    *,
    related: bool | Collection[str] = False,
    database: str | None = None,
    session: Any = None,
) -> Any:
    """Select the changes of a mapped object under all primary keys that it had; see ``log.identity``.

    It asks the log for the changes of the key. With an ``AsyncSession``, call it in ``run_sync()``.

    Args:
        instance: The object.
        related: Whether to include the changes of rows that refer to the object (children, and rows of
            many-to-many tables) through any relationship, or the names of the relationships to follow.
        database: Name of the database, if the log holds the changes of several.
        session: A session on the database of the log; by default the one that the object is attached to.

    Raises:
        ValueError: The object is detached and no session is given, or has no relationship of a name.
    """
    session = session or object_session(instance)
    if session is None:
        raise ValueError("the object is detached: pass session=, a session on the database of the log")
    mapper = inspect(instance).mapper
    named = {related} if isinstance(related, str) else set() if isinstance(related, bool) else set(related)
    if unknown := named - {relationship.key for relationship in mapper.relationships}:
        raise ValueError(f"{mapper.class_.__name__} has no relationship {', '.join(sorted(unknown))}")
    criteria = []
    for table in mapper.tables:
        key = key_text([value_of(mapper, instance, column) for column in table.primary_key.columns])
        criteria.append(changes_of_row(SessionLog(session, _of(table, database)), key))
    for relationship in mapper.relationships:
        if related is True or relationship.key in named:
            criteria += _referring(mapper, instance, relationship, database)
    return or_(*criteria)


def created() -> Any:
    """Select changes that created a row."""
    return Change.operation == "CREATE"


def updated() -> Any:
    """Select changes that updated a row."""
    return Change.operation == "UPDATE"


def deleted() -> Any:
    """Select changes that deleted a row."""
    return Change.operation == "DELETE"


def before(values: Mapping[Any, Any]) -> Any:
    """Select changes of rows that had certain values before.

    Args:
        values: Values by column, of any type that a column takes; an object stands for its key. A column is
            given by its name, or by the attribute that is mapped to it, whose type then converts the value.
    """
    return _in_row(Change.before, values)


def before_not(values: Mapping[Any, Any]) -> Any:
    """Select the changes that :func:`before` does not."""
    return ~before(values)


def after(values: Mapping[Any, Any]) -> Any:
    """Select changes of rows that had certain values afterwards.

    Args:
        values: Values by column, of any type that a column takes; an object stands for its key. A column is
            given by its name, or by the attribute that is mapped to it, whose type then converts the value.
    """
    return _in_row(Change.after, values)


def after_not(values: Mapping[Any, Any]) -> Any:
    """Select the changes that :func:`after` does not."""
    return ~after(values)


def context(values: Mapping[str, Any]) -> Any:
    """Select changes whose context contains certain values.

    Args:
        values: Values by key, at any depth.
    """
    return _in_context(contained_in_context(values))


def _in_context(texts: Iterable[str]) -> Any:
    return or_(*(Change.context.contains(cast(literal(text, Text), JSONB)) for text in texts))


def context_not(values: Mapping[str, Any]) -> Any:
    """Select the changes that :func:`context` does not."""
    return ~context(values)


def field_changed(column: Any, *, from_: Any = _ANY, to: Any = _ANY) -> Any:
    """Select updates that gave a column another value, also if it is not stored.

    Args:
        column: Name of the column, or the attribute that is mapped to it.
        from_: If given, only updates from this value.
        to: If given, only updates to this value.
    """
    name, _ = column_of(column)
    differs = and_(
        _has_key(Change.before, name),
        _has_key(Change.after, name),
        _part(Change.before, name).is_distinct_from(_part(Change.after, name)),
    )
    is_named = _has_key(_part(Change.unavailable, "changed"), name).is_(true())
    criteria = [updated(), or_(differs, is_named)]
    criteria += [] if from_ is _ANY else [before({column: from_})]
    criteria += [] if to is _ANY else [after({column: to})]
    return and_(*criteria)


def by(user_id: Any) -> Any:
    """Select the changes of a user, by the context's ``user_id``; a mapped object stands for its key."""
    return _in_context(contained_user(plain(user_id)))


def in_request(request_id: str) -> Any:
    """Select the changes of a request, by the context's ``request_id``."""
    return context({"request_id": request_id})


def in_transaction(transaction_id: int) -> Any:
    """Select the changes of a transaction, by PostgreSQL's 64-bit transaction id."""
    return Change.transaction_id == transaction_id


def between(start: datetime, end: datetime) -> Any:
    """Select changes committed at or after ``start`` and before ``end``."""
    return and_(Change.committed_at >= start, Change.committed_at < end)


def outside() -> Any:
    """Select changes made without an application's context, such as those made in psql."""
    return or_(_has_key(Change.context, "db_user"), Change.context == {})


def unverified() -> Any:
    """Select changes with a context that no application has signed (``BEMI_CONTEXT_KEYS``)."""
    return context({UNVERIFIED_KEY: True})


# An operator with an operand of no type would be looked up in the search path.
def _has_key(side: Any, key: str) -> Any:
    return side.op("OPERATOR(pg_catalog.?)", is_comparison=True)(cast(literal(key, Text), Text))


def _part(side: Any, column: str) -> Any:
    return func.pg_catalog.jsonb_object_field(side, cast(literal(column, Text), Text), type_=JSONB)


def _in_row(side: Any, values: Mapping[Any, Any]) -> Any:
    criteria = []
    for name, value in values.items():
        column, kind = column_of(name)
        texts = dict.fromkeys(contained({column: form}) for form in _forms(kind, plain(value)))
        criteria.append(or_(*(side.contains(cast(literal(text, Text), JSONB)) for text in texts)))
    return and_(true(), *criteria)


def _forms(kind: Any, value: Any) -> list[Any]:
    """Return what a column may have that was given a value; ``kind`` is its type, if it is known."""
    if isinstance(kind, (Enum, JSON, TypeDecorator)):
        return [stored(kind, value)]
    forms = forms_of(value, datetime_timezone.utc)
    # SQLAlchemy stores the names of enums, unless it was told not to.
    return [*forms, value.name] if isinstance(value, enum.Enum) else forms


def _of(table: Any, database: str | None) -> Any:
    return for_table(table.name, schema_of(table), database)


def _referring(mapper: Any, instance: Any, relationship: Any, database: str | None) -> list[Any]:
    if relationship.direction.name == "MANYTOONE":
        return []
    values: dict[Any, dict[str, Any]] = {}
    for own, other in relationship.synchronize_pairs:
        value = value_of(mapper, instance, own)
        values.setdefault(other.table, {})[other.name] = loads(json_text(value))
    return [and_(_of(table, database), or_(before(held), after(held))) for table, held in values.items()]
