"""Somebody who may change everything in the database of the log, and makes its chain again."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from bemi_django import conf
from bemi_django.ingest.destination.sealing import SEALED_COLUMNS
from bemi_django.seals.links import read_links
from bemi_django.seals.records import seal_again, sent_columns
from tests.support.sealed_log import SLOT


def forge(statement: str, first: int = 0) -> None:
    """Run a statement, and make all digests and links from a number on again."""
    opened = psycopg2.connect(**conf.connection_parameters("default"))
    with closing(opened), opened, opened.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount == 1
        previous = b""
        for link in read_links(cursor, SLOT, 0, 10_000):
            if link.ids and link.number >= first:
                ids = [link.ids[at : at + 16].hex() for at in range(0, len(link.ids), 16)]
                cursor.execute(
                    f"SELECT {sent_columns()} FROM changes WHERE id = ANY (%s::uuid[]) ORDER BY id",  # noqa: S608
                    [ids],
                )
                rows = [[None if one is None else bytes(one) for one in row] for row in cursor.fetchall()]
                assert len(rows[0]) == len(SEALED_COLUMNS)
                sealed = seal_again(rows)
                link = link._replace(digests=sealed.digests, salts=sealed.salts)
            link = link._replace(hash=link.hash_after(SLOT, previous))
            previous = link.hash
            cursor.execute(
                "UPDATE _bemi.links SET digests = %s, salts = %s, hash = %s WHERE chain = %s AND number = %s",
                [link.digests, link.salts, link.hash, SLOT, link.number],
            )
        cursor.execute("UPDATE _bemi.chains SET hash = %s WHERE name = %s", [previous, SLOT])
