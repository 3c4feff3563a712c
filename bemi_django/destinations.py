"""The databases that have a log, and which part of the changes each of them has (``BEMI_DESTINATIONS``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from bemi_django.exceptions import BemiError
from bemi_django.wire.division import Division, Share
from bemi_django.wire.name_pattern import table_pattern

_CONDITIONS = {"databases", "tables", "hash"}
_HASH = re.compile(r"([0-9]{1,2})/([0-9]{1,2})")
_MANY = "the log has several destinations (BEMI_DESTINATIONS): {}"
#: What was chosen in this process, and in this request.
_chosen: list[str] = []
_here: ContextVar[str | None] = ContextVar("bemi_destination", default=None)
_are_all_meant: ContextVar[bool] = ContextVar("bemi_destinations", default=False)


def first() -> str:
    """Return ``BEMI_DESTINATION``, the alias of the database that has what no other destination has."""
    return cast(str, getattr(settings, "BEMI_DESTINATION", "default"))


def current() -> str:
    """Return the alias of the destination that was chosen, by default the first one."""
    return _here.get() or (_chosen[-1] if _chosen else first())


def is_chosen() -> bool:
    """Return whether a destination was chosen for this process or request."""
    return bool(_here.get() or _chosen)


def choose_here(alias: str) -> None:
    """Let a destination be the one that is meant in the present context, such as a request."""
    _here.set(alias)


def choose_all_here() -> None:
    """Let all destinations be meant in the present context, by whatever can ask them together."""
    _are_all_meant.set(True)
    _here.set(first())


def are_all_meant() -> bool:
    """Return whether all destinations were chosen for the present context."""
    return _are_all_meant.get()


@contextmanager
def here(alias: str) -> Iterator[None]:
    """Let a destination be the one that is asked in the present context, until the block ends."""
    token = _here.set(alias)
    try:
        yield
    finally:
        _here.reset(token)


def aliases() -> list[str]:
    """Return the aliases of all destinations, the first one first, even if the setting is not valid."""
    given = getattr(settings, "BEMI_DESTINATIONS", {})
    return list(dict.fromkeys([first(), *(given if isinstance(given, Mapping) else ())]))


def of_keys(alias: str | None = None) -> str:
    """Return the alias of the destination that has the keys with which values are encrypted.

    Args:
        alias: Alias of the database of what is encrypted, if there is one destination.
    """
    return first() if len(aliases()) > 1 else alias or current()


def is_log(alias: str) -> bool:
    """Return whether a database holds ``changes``; one that is not PostgreSQL cannot."""
    return connections[alias].vendor == "postgresql" and alias in aliases()


def require_log() -> None:
    """Check that the database that is to hold the changes can hold them.

    Raises:
        ImproperlyConfigured: It is not PostgreSQL.
    """
    if not is_log(current()):
        raise ImproperlyConfigured(
            f"no changes are recorded: {current()!r}, which is to hold them, is not PostgreSQL; set "
            "BEMI_DESTINATION to the alias of a PostgreSQL database"
        )


def meant() -> list[str]:
    """Return the destinations that are meant in this context; ``here()`` is for asking each of them."""
    return aliases() if are_all_meant() else [current()]


@contextmanager
def choosing(alias: str | None) -> Iterator[None]:
    """Let a destination be the one that is meant in this process, until the block ends; None changes nothing.

    Raises:
        BemiError: It is no destination.
    """
    if alias is None:
        yield
        return
    if alias not in aliases():
        raise BemiError(f"{alias!r} is no destination of the log: use one of {', '.join(aliases())}")
    _chosen.append(alias)
    try:
        yield
    finally:
        _chosen.pop()


def require_choice(what: str) -> None:
    """Check that one destination is meant, where something works on one log alone.

    Raises:
        BemiError: There are several, and none was chosen.
    """
    if len(aliases()) > 1 and not is_chosen():
        raise BemiError(f"{_MANY.format(', '.join(aliases()))}; say with --destination {what}")


def require_one(what: str) -> None:
    """Check that there is one destination, where something cannot be done with several.

    Raises:
        BemiError: There are several.
    """
    if len(aliases()) > 1:
        raise BemiError(f"{_MANY.format(', '.join(aliases()))}; {what}")


def division() -> Division:
    """Return ``BEMI_DESTINATIONS``: which destination has which changes.

    Raises:
        ImproperlyConfigured: It is not valid.
    """
    given: Any = getattr(settings, "BEMI_DESTINATIONS", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured("BEMI_DESTINATIONS must be {alias: conditions}")
    if first() in given:
        raise ImproperlyConfigured(
            f"BEMI_DESTINATIONS has {first()!r}, which is BEMI_DESTINATION: that one has what no other has"
        )
    return Division(first(), tuple(_share(alias, conditions) for alias, conditions in given.items()))


def of_table(database: str, schema: str, table: str) -> list[str]:
    """Return the destinations that have changes of a table; a chosen one is the only one that is meant."""
    return [current()] if is_chosen() else division().of_table(database, schema, table)


def of_database(database: str) -> list[str]:
    """Return the destinations that may have changes of a source, whichever is chosen."""
    return division().of_database(database)


def _share(alias: object, conditions: object) -> Share:
    if not isinstance(alias, str) or not isinstance(conditions, Mapping) or not conditions:
        raise ImproperlyConfigured(f"BEMI_DESTINATIONS has {alias!r}, which needs conditions")
    if unknown := set(conditions) - _CONDITIONS:
        known = ", ".join(sorted(_CONDITIONS))
        raise ImproperlyConfigured(
            f"BEMI_DESTINATIONS has the condition {min(map(str, unknown))!r} for {alias!r}: use {known}"
        )
    try:
        databases = _texts(conditions.get("databases", ()))
        tables = [table_pattern(text) for text in _texts(conditions.get("tables", ()))]
        if any(name in conditions and not conditions[name] for name in ("databases", "tables")):
            raise ValueError("an empty list would be a condition that nothing meets")
        number, parts = _fraction(conditions.get("hash", "1/1"))
    except ValueError as error:
        raise ImproperlyConfigured(f"BEMI_DESTINATIONS has wrong conditions for {alias!r}: {error}") from None
    return Share(alias, databases, tables, number, parts)


def _texts(value: object) -> list[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return list(value)
    raise ValueError("patterns must be a list of texts")


def _fraction(value: object) -> tuple[int, int]:
    found = _HASH.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError("hash must be a part of parts, such as '1/2' for the first of two")
    return int(found[1]), int(found[2])
