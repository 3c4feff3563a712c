"""Versions of PostgreSQL with errors that cost changes, or the time of an administrator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from django.db import connections

from bemi_django import destinations
from bemi_django.doctor.finding import Finding


class _Trap(NamedTuple):
    """An error of the server: by major version, the first minor one that has it, and the first without.

    Attributes:
        minors: These versions.
        what: What goes wrong.
        afterwards: What else mends it, after an upgrade.
        is_of_stream: Whether it concerns sources only.
    """

    minors: Mapping[int, tuple[int, int]]
    what: str
    afterwards: str = ""
    is_of_stream: bool = False


_TRAPS = (
    _Trap(
        {14: (18, 19), 15: (13, 14), 16: (9, 10), 17: (5, 6)},
        "where DDL runs beside open transactions, it takes more and more memory to decode changes, until the "
        "stream ends with 'invalid memory alloc request size'",
        is_of_stream=True,
    ),
    _Trap(
        {14: (0, 4)},
        "an index that is built with CONCURRENTLY may lack rows, so that queries do not find them",
        ", then build the indexes again: REINDEX DATABASE CONCURRENTLY",
    ),
)


def findings(source: str) -> Iterator[Finding]:
    """Yield what is known to be wrong with the versions of the servers of a source and of the logs."""
    others = filter(destinations.is_log, destinations.aliases())
    for alias in dict.fromkeys([source, *others]):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_catalog.current_setting('server_version_num'::pg_catalog.text)")
            (number,) = cursor.fetchone()
        yield from of_version(int(number), alias, is_source=alias == source)


def of_version(number: int, alias: str, *, is_source: bool) -> Iterator[Finding]:
    """Yield what is known to be wrong with a version.

    Args:
        number: Its ``server_version_num``.
        alias: The alias of the database.
        is_source: Whether changes are read from it.
    """
    major, minor = divmod(number, 10000)
    for trap in _TRAPS:
        first, mended = trap.minors.get(major, (0, 0))
        if first <= minor < mended and (is_source or not trap.is_of_stream):
            yield Finding(
                "bemi.D024",
                f"The server of {alias!r} is PostgreSQL {major}.{minor}: {trap.what}.",
                f"Upgrade it to {major}.{mended} or later{trap.afterwards}.",
            )
