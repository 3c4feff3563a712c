"""The last time that the log was compared with the tables."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connections

from bemi_django import conf
from bemi_django.schema import installed
from bemi_django.schema.replication.slots import slot_of

# Ages are asked of the server: without USE_TZ, a datetime of Django has no time zone.
_LAST = """
SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) ended_at),
       tables, wrong,
       pg_catalog.jsonb_array_length(asked OPERATOR(pg_catalog.->) 'tables'::pg_catalog.text)
           OPERATOR(pg_catalog.<>) 0,
       asked OPERATOR(pg_catalog.->>) 'sample'::pg_catalog.text
FROM _bemi.verifications WHERE slot OPERATOR(pg_catalog.=) %s::pg_catalog.text AND ended_at IS NOT NULL
ORDER BY ended_at DESC LIMIT 1
"""


class LastVerification(NamedTuple):
    """The last run of ``bemi verify`` that came to its end.

    Attributes:
        age: Seconds since it ended.
        tables: Number of tables that were compared.
        wrong: Number of those that differed or could not be compared.
        is_partial: Whether tables were named, rather than all compared.
        sample: The share or number of rows that was compared; None for all.
    """

    age: float
    tables: int
    wrong: int
    is_partial: bool
    sample: str | None

    def __str__(self) -> str:
        found = (
            f"{self.wrong} of {self.tables} tables differed" if self.wrong else f"{self.tables} tables agreed"
        )
        part = ", named ones" if self.is_partial else ""
        sample = f", a sample of {self.sample}" if self.sample else ""
        return f"{_ago(self.age)} ago: {found}{part}{sample}"


def read_last_verification(alias: str) -> LastVerification | None:
    """Return the last run of ``bemi verify`` on a database, or None if none has ended.

    Args:
        alias: Alias of the source.
    """
    with connections[conf.destination()].cursor() as cursor:
        if not installed.has(cursor, "partition_v1"):
            return None
        cursor.execute(_LAST, [slot_of(alias)])
        found = cursor.fetchone()
    return None if found is None else LastVerification(max(found[0], 0.0), *found[1:])


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
