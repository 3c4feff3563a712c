"""What handlers have to get before it may be removed."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django.db import connections

from bemi_django import conf
from bemi_django.schema.database_names import database_name
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor

_BOOKMARKS = "SELECT handler, slot, last::text FROM _bemi.handlers ORDER BY last, handler"
_UNDELIVERED = "SELECT handler FROM _bemi.undelivered WHERE change_id = %s ORDER BY handler LIMIT 1"


class WaitingHandler(NamedTuple):
    """A handler that has all changes of a database up to an id; of an unknown one, this is for all."""

    name: str
    slot: str
    database: str | None
    last: str


def waiting_handlers(alias: str) -> list[WaitingHandler]:
    """Return how far the handlers are.

    Args:
        alias: Alias of the database that holds the log.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_BOOKMARKS)
        bookmarks = cursor.fetchall()
    if not bookmarks:
        return []
    databases = {slot_of(each): database_name(each) for each in filter(conf.is_source, connections)}
    return [WaitingHandler(name, slot, databases.get(slot), last) for name, slot, last in bookmarks]


def as_json(handlers: list[WaitingHandler]) -> str:
    """Return handlers as the functions of the database take them."""
    return json.dumps([{"database": handler.database, "last": handler.last} for handler in handlers])


def explain(alias: str, handlers: list[WaitingHandler], change: Any) -> str:
    """Return why a change must not be removed yet, and what to do.

    Args:
        alias: Alias of the database that holds the log.
        handlers: The handlers.
        change: The id of the change.
    """
    with closed_cursor(alias) as cursor:
        cursor.execute(_UNDELIVERED, [str(change)])
        found = cursor.fetchone()
    if found is not None:
        return (
            f"{found[0]} has failed on the change {change}: deliver it with 'manage.py bemi handlers "
            "--retry', or delete it from _bemi.undelivered"
        )
    behind = ", ".join(
        f"{handler.name} (slot {handler.slot})" for handler in handlers if handler.last < str(change)
    )
    return (
        f"the change {change} and those after it were not delivered to {behind}: run the handlers, or delete "
        "the rows of those that are gone from _bemi.handlers"
    )
