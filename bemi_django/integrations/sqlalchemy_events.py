"""Record events with SQLAlchemy 1.4 or 2, with or without Django.

::

    from bemi_django.integrations.sqlalchemy_events import record

    with Session(engine) as session:
        record(session, "sent", invoice, to="billing@example.com")
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import ARRAY, Enum, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import CompileError

from bemi_django.capture.context import is_skipping
from bemi_django.capture.hooks.sqlalchemy_engine import context_on
from bemi_django.events import emission
from bemi_django.exceptions import BemiError
from bemi_django.integrations import log_table, pyproject
from bemi_django.integrations.sqlalchemy_changes.mapped_table import value_of
from bemi_django.log.printing import json_text, key_text
from bemi_django.masking.flat_types import type_named
from bemi_django.masking.rules import ColumnMask, Rules
from bemi_django.masking.settings import rules_of
from bemi_django.wire import EVENT_PREFIX

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def record(session: Any, event: str, instance: Any = None, /, **details: Any) -> None:
    """Record that something has happened, as a change with the operation EVENT and the present context.

    In a transaction that has written, the event is one of its changes: it comes after the rows that were
    written before, and a rollback takes it back. Otherwise, and always for ``"viewed"``, it stays whatever
    becomes of the transaction. Unless it is ``"viewed"``, the session is flushed first, as before a query.

    Args:
        session: A session or a connection on the database that has the object.
        event: What happened: a name of at most 100 bytes.
        instance: The mapped object that it happened to, flushed or deleted.
        details: Whatever else is known. Values that JSON cannot hold are stored as their ``str()``.

    Raises:
        ValueError: The name is empty or too long, or the object has no primary key.
        BemiError: The database is a standby.
        sqlalchemy.exc.DBAPIError: The event could not be written; the transaction goes on.
    """
    emission.require_name(event)
    is_alone = event == emission.VIEWED
    if not is_alone and getattr(session, "autoflush", False):
        session.flush()
    connection = _connection(session, instance)
    present = context_on(connection)
    if is_skipping(present) or not _captures():
        return
    schema, table, key = _row(instance) if instance is not None else (None, None, None)
    version = connection.dialect.server_version_info[0]
    statement = text(emission.statement(lambda name: f":{name}", is_alone=is_alone, version=version))
    rest = emission.message(event, present, details, table, key, schema)
    parameters = {"prefix": EVENT_PREFIX, "schema": schema, "table": table, "rest": rest}
    with _savepoint(connection):
        is_written = connection.execute(statement, parameters).scalar()
    if not is_written:
        raise BemiError("the database is a standby: record the event on a session of its primary")


async def arecord(session: Any, event: str, instance: Any = None, /, **details: Any) -> None:
    """Do the same as :func:`record` with an ``AsyncSession`` or ``AsyncConnection``."""
    await session.run_sync(lambda inner: record(inner, event, instance, **details))


def _connection(session: Any, instance: Any) -> Any:
    if isinstance(session, Connection):
        return session
    # A session may have several databases, by mapped class.
    binding = {} if instance is None else {"mapper": inspect(instance).mapper}
    return session.connection(bind_arguments=binding)


@contextmanager
def _savepoint(connection: Any) -> Iterator[None]:
    """Keep what fails in a block out of the transaction that is open, if there is one."""
    if connection.connection.dbapi_connection.autocommit or not connection.in_transaction():
        yield
        return
    with connection.begin_nested():
        yield


def _row(instance: Any) -> tuple[str | None, str, str | None]:
    """Return the schema of an object's table, if it is known, the table, and the key as the log has it."""
    mapper = inspect(instance).mapper
    table = mapper.local_table
    columns = list(table.primary_key.columns)
    values = [value_of(mapper, instance, column) for column in columns]
    if None in values:
        raise ValueError("the object has no primary key: flush it before you record what happened to it")
    key = key_text(values)
    rules = _rules()
    if rules is None:
        return table.schema, table.name, None
    masks = [_mask(rules, column) for column in columns]
    return table.schema, table.name, emission.key_with_masks(masks, key, lambda: json_text(values[0]))


def _mask(rules: Rules, column: Any) -> ColumnMask | None:
    """Return the mask of a column of a key, which may refer to a masked one and has its values then."""
    while True:
        place = (column.table.schema or "public", column.table.name)
        types = {column.name: type_named(_printed(column.type))}
        if found := rules.of_table([place], [column.name], [column.name], types=types):
            return found[column.name]
        if not column.foreign_keys:
            return None
        column = min(column.foreign_keys, key=lambda reference: reference.target_fullname).column


def _printed(kind: Any) -> str | None:
    while isinstance(kind, ARRAY):
        kind = kind.item_type
    if isinstance(kind, Enum):
        # The server knows it by a name of its own.
        return "text"
    try:
        return str(kind.compile(_DIALECT))
    # A type of a project need not say what it is.
    except (AttributeError, CompileError, NotImplementedError):
        return None


def _captures() -> bool:
    if not log_table.is_django_project():
        return True
    from bemi_django import conf

    return conf.captures()


def _rules() -> Rules | None:
    """Return the rules for masks, or None if they cannot be read: then no key is told."""
    try:
        if not log_table.is_django_project():
            return _rules_of_file()
        from bemi_django.mask_rules import configured_masks

        return configured_masks()
    except Exception:
        # The worker says what is wrong, and does not start.
        return None


@cache
def _rules_of_file() -> Rules:
    """Return the rules of ``[tool.bemi]`` or the environment, as the command ``bemi`` reads them."""
    settings = pyproject.read(Path.cwd())[1]
    given = os.environ.get("BEMI_MASK")
    mask: Mapping[str, Any] = json.loads(given) if given is not None else settings.get("mask", {})
    return rules_of(mask, os.environ.get("BEMI_MASK_KEY", settings.get("mask_key")))
