"""Versions of PostgreSQL with errors that cost changes, or the time of an administrator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from django.db import connections

from bemi_django.doctor.finding import Finding


class _Trap(NamedTuple):
    """An error of the server: by major version, the first minor one that has it, and the first without."""

    minors: Mapping[int, tuple[int, int]]
    what: str


_TRAPS = (
    _Trap(
        {14: (18, 19), 15: (13, 14), 16: (9, 10), 17: (5, 6)},
        "where DDL runs beside open transactions, it takes more and more memory to decode changes, until the "
        "stream ends with 'invalid memory alloc request size'",
    ),
    _Trap(
        {14: (0, 4)},
        "an index that is built with CONCURRENTLY may lack rows, so that queries do not find them",
    ),
)


def findings(source: str) -> Iterator[Finding]:
    """Yield what is known to be wrong with the version of the server of a source."""
    with connections[source].cursor() as cursor:
        cursor.execute("SELECT pg_catalog.current_setting('server_version_num'::pg_catalog.text)")
        yield from of_version(int(cursor.fetchone()[0]))


def of_version(number: int) -> Iterator[Finding]:
    """Yield what is known to be wrong with a version.

    Args:
        number: Its ``server_version_num``.
    """
    major, minor = divmod(number, 10000)
    for minors, what in _TRAPS:
        first, mended = minors.get(major, (0, 0))
        if first <= minor < mended:
            yield Finding(
                "bemi.D024",
                f"The server is PostgreSQL {major}.{minor}: {what}.",
                f"Upgrade it to {major}.{mended} or later.",
            )
