"""Pages of the log by key: no count, no offset, and the same whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, connections, transaction

from bemi_django.models import Change
from bemi_django.querysets import ChangeQuerySet

SIZE = 50
#: How many changes are looked through for those that match, where no index finds them.
WINDOW = 20_000
#: An index finds few changes at once; of a great many somebody would wait for the first page.
PATIENCE_MS = 1500

_QUERY_CANCELED = "57014"


class Cursor(NamedTuple):
    """The id at which a page begins, exclusive; a page of ``is_newer`` is read towards the present."""

    id: UUID | None = None
    is_newer: bool = False


class Page(NamedTuple):
    """The newest first. ``older`` and ``newer`` are where the neighbours begin, None: there is none.

    ``is_partial``: not everything was looked through, ``older`` (or ``newer``) goes on with it.
    """

    changes: list[Change]
    older: UUID | None
    newer: UUID | None
    is_partial: bool


def read_page(
    changes: ChangeQuerySet, cursor: Cursor, *, is_filtered: bool, is_indexed: bool, size: int = SIZE
) -> Page:
    """The changes beyond the cursor. ``is_indexed``: an index finds those that match, if they are few."""
    beyond = _beyond(changes, cursor)
    limit = None
    if not is_filtered:
        found = _read(beyond, size)
    else:
        limit = _limit(cursor)
        found = _read(_until(beyond, cursor, limit), size)
        if limit is not None and len(found) <= size and is_indexed:
            whole = _by_index(beyond, size)
            if whole is not None:
                found, limit = whole, None
    has_more = len(found) > size
    found = found[:size]
    is_partial = limit is not None and not has_more
    end = limit if is_partial else found[-1].id if found and has_more else None
    if not cursor.is_newer:
        start = None if cursor.id is None else found[0].id if found else cursor.id
        return Page(found, end, start, is_partial)
    found.reverse()
    return Page(found, found[-1].id if found else cursor.id, end, is_partial)


def _beyond(changes: ChangeQuerySet, cursor: Cursor) -> ChangeQuerySet:
    if cursor.is_newer:
        return changes.filter(id__gt=cursor.id).order_by("id")
    changes = changes.order_by("-id")
    return changes if cursor.id is None else changes.filter(id__lt=cursor.id)


def _limit(cursor: Cursor) -> UUID | None:
    """The last id of the window beyond the cursor; None: the window reaches to the end."""
    with no_scan():
        ids = _beyond(Change.objects.all(), cursor).values_list("id", flat=True)
        return next(iter(ids[WINDOW - 1 : WINDOW]), None)


def _until(changes: ChangeQuerySet, cursor: Cursor, limit: UUID | None) -> ChangeQuerySet:
    if limit is None:
        return changes
    return changes.filter(id__lte=limit) if cursor.is_newer else changes.filter(id__gte=limit)


def _read(changes: ChangeQuerySet, size: int) -> list[Change]:
    with no_scan():
        return list(changes[: size + 1])


def _by_index(changes: ChangeQuerySet, size: int) -> list[Change] | None:
    """None when there are too many to sort in time."""
    try:
        # The planner would walk the whole log backwards, in the hope to meet the first of them soon.
        with no_scan("SET LOCAL enable_indexscan = off", f"SET LOCAL statement_timeout = {PATIENCE_MS}"):
            return list(changes[: size + 1])
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", getattr(error.__cause__, "sqlstate", None)) != _QUERY_CANCELED:
            raise
        return None


@contextmanager
def no_scan(*settings: str) -> Iterator[None]:
    """A transaction on the log in which nothing is read from one end to the other."""
    alias = Change.objects.db
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("; ".join(["SET LOCAL enable_seqscan = off", *settings]))
        yield
        # A transaction of somebody else around this one goes on with what it had.
        cursor.execute("; ".join(_reset(setting) for setting in ["SET LOCAL enable_seqscan = on", *settings]))


def _reset(setting: str) -> str:
    name = setting.removeprefix("SET LOCAL ").partition(" ")[0]
    return f"SET LOCAL {name} TO DEFAULT"
