"""Rows that are still there, and whose keys could not be found any more."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product
from typing import Any

from django.db import DatabaseError, DataError
from django.db.models import Q

from bemi_django import conf
from bemi_django.erasure.remains import Remains
from bemi_django.erasure.targets.target import HAVING_VALUES, Target
from bemi_django.exceptions import BemiError
from bemi_django.log.conditions import in_table, value_of
from bemi_django.log.live.code_of_others import code_of_others
from bemi_django.log.live.live_rows import find_rows
from bemi_django.log.live.live_tables import LiveTable, read_catalog
from bemi_django.log.live.row_session import row_session, without_policies
from bemi_django.log.lossless_json import loads
from bemi_django.models import Change
from bemi_django.schema import search_path

_OID = """
SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""


def require_gone(targets: Iterable[Target], remains: Remains, alias: str) -> None:
    """Make sure that rows whose keys are to be hashed are no longer in their tables.

    The past and the present of a row are one row by its key.

    Args:
        targets: The changes.
        remains: What is left of keys.
        alias: Alias of the database of the tables.

    Raises:
        BemiError: One is there; the message says what to do.
    """
    for target in targets:
        log = Change.objects.using(conf.destination()).filter(target.left).order_by()
        own = list(product(("before", "after"), target.key))
        columns = {f"value_{number}": value_of(*place) for number, place in enumerate(own)}
        keys = log.filter(primary_key__isnull=False).annotate(**columns).values_list("primary_key", *columns)
        meant: dict[str, None] = {}
        for key, *values in keys.distinct().iterator():
            rows = [{name: value} for (_, name), value in zip(own, values, strict=True)]
            if remains.of_key(key, target.texts_of_key(rows)) != key and not _is_of_another(target, key):
                meant[key] = None
        if meant and _is_there(target, list(meant), alias):
            raise BemiError(
                f"a row of {target.name} is still there, and its key has to be hashed, because it is neither "
                "a number nor a UUID: delete the row, or give it another key, and wait until the log has that"
            )


def _is_of_another(target: Target, key: str) -> bool:
    """Return whether a row has got another key, and another row, of which nothing is erased, had it since."""
    spans = [span for span in target.spans if span.key == key]
    ends = [span.end for span in spans if span.end is not None]
    if not ends or len(ends) < len(spans):
        return False
    others = [other for span in spans for other in span.others]
    log = Change.objects.using(conf.destination()).filter(in_table(target.place), diverged=False)
    later = log.filter(Q(pk__gt=max(ends)) | Q(pk__in=others), primary_key=key, operation__in=HAVING_VALUES)
    return later.exists() and not later.filter(target.condition).exists()


def _is_there(target: Target, keys: list[str], alias: str) -> bool:
    try:
        return _is_one_there(target, keys, alias)
    except DataError:
        # A key that the present type does not take is of no row. The others have to be asked for without it.
        middle = len(keys) // 2
        halves = (keys[:middle], keys[middle:]) if middle else ()
        return any(_is_there(target, half, alias) for half in halves)


def _is_one_there(target: Target, keys: list[str], alias: str) -> bool:
    place = target.present or target.place
    name = place.schema, place.table
    with row_session(alias) as cursor:
        table = read_catalog(cursor, json.dumps([name])).tables.get(name)
        if table is None or table.primary is None:
            return False
        _refuse_code_of_others(cursor, target)
        columns = table.primary.columns
        found = (_parts(table, key) for key in keys)
        wanted = [dict(zip(columns, parts, strict=True)) for parts in found if parts is not None]
        try:
            with without_policies(cursor):
                return bool(find_rows(cursor, table, wanted, lock=False))
        except DataError:
            raise
        except DatabaseError as error:
            said = str(error).partition("\n")[0]
            raise BemiError(
                f"whether a row of {target.name} is still there, whose key has to be hashed, cannot be told "
                f"({said}): run this as a role that may read all rows of the table"
            ) from error


def _refuse_code_of_others(cursor: Any, target: Target) -> None:
    """Refuse to read a table whose owner could have the log changed by that, with the rights of its owner."""
    with search_path.closed(cursor):
        place = target.present or target.place
        cursor.execute(_OID, [place.schema, place.table])
        (oid,) = cursor.fetchone()
        others = code_of_others(cursor, oid, always=True)
    if others:
        roles = ", ".join(others)
        raise BemiError(
            f"whether a row of {target.name} is still there, whose key has to be hashed, is not asked: that "
            f"may run code of {roles} (indexes, constraints, casts to json) with the rights of this role. If "
            "you trust its functions, give them to a superuser"
        )


def _parts(table: LiveTable, key: str) -> list[Any] | None:
    """Return the values of a key, which is printed; None if no row has it, such as one of an earlier type."""
    is_single = len(table.key) == 1
    if is_single and table.key[0] not in table.documents:
        return [key]
    try:
        # In JSON, a text has quotes.
        found = loads(key)
    except ValueError:
        return None
    if is_single:
        return [found]
    return found if isinstance(found, list) and len(found) == len(table.key) else None
