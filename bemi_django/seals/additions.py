"""Find out whether rows that the package itself has added, such as records of erasures, were removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bemi_django.ingest.destination.sealing import ID
from bemi_django.seals.findings import ChainReport, of_change
from bemi_django.seals.links import OPERATIONS, Link, SealedChange, read_links
from bemi_django.seals.operations import Expected, Operations

_PRESENT = "SELECT uuid_send(id) FROM {} WHERE id = ANY (%s::uuid[])"


def find_removed(cursor: Any, log: str, operations: Operations, report: ChainReport) -> None:
    """Report rows that the package has added, and that are missing without a note of who has removed them.

    Args:
        cursor: A cursor of psycopg2, in a snapshot in which the operations were read.
        log: The name of the log, quoted.
        operations: What was done to sealed changes.
        report: Where findings go.
    """
    query = _PRESENT.format(log.replace("%", "%%"))
    for number in operations.additions:
        expected = {
            one.id: Expected(one, link.sealed_at, one.digest, one.salt)
            for link in read_links(cursor, OPERATIONS, number - 1, 1)
            for one in _added(link)
        }
        operations.apply(cursor, expected)
        cursor.execute(query, [[one.hex() for one in expected]])
        present = {bytes(identifier) for (identifier,) in cursor.fetchall()}
        for one in expected.values():
            if one.must_be_present and one.sealed.id not in present:
                report.add(of_change("removed", one.sealed.id, 0, one.sealed.committed_at))


def _added(link: Link) -> Iterator[SealedChange]:
    said = link.says.get("added")
    # That somebody has changed the link was found, so the rest of it need not be told.
    times = said if isinstance(said, list) else ()
    for number, moment in zip(range(len(link.ids) // ID), times, strict=False):
        if isinstance(moment, int):
            yield SealedChange(*link.sealed(number), 0, moment)
