"""Verify the chains of the log: what was edited, removed, inserted or moved is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import psycopg2

from bemi_django import conf
from bemi_django.exceptions import BemiError
from bemi_django.schema import installed
from bemi_django.seals.additions import find_removed
from bemi_django.seals.anchors import Anchor
from bemi_django.seals.chain_links import ChainLinks
from bemi_django.seals.chain_walk import ChainWalk
from bemi_django.seals.findings import ChainReport, of_change, of_link
from bemi_django.seals.links import OPERATIONS
from bemi_django.seals.operations import Operations
from bemi_django.seals.progress_file import ProgressFile

_SET = "SET search_path = pg_catalog, pg_temp; SET timezone = 'UTC'; SET statement_timeout = 0"
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Whoever removes the head of a chain leaves its links, or an anchor finds that they are missing.
_CHAINS = """
WITH RECURSIVE linked AS (
    (SELECT chain FROM _bemi.links ORDER BY chain LIMIT 1)
    UNION ALL
    SELECT (SELECT l.chain FROM _bemi.links l WHERE l.chain > o.chain ORDER BY l.chain LIMIT 1)
    FROM linked o WHERE o.chain IS NOT NULL)
SELECT coalesce(c.name, l.chain), coalesce(c.number, 0)
FROM _bemi.chains c FULL JOIN (SELECT * FROM linked WHERE chain IS NOT NULL) l ON l.chain = c.name ORDER BY 1
"""
_BEGAN = "SELECT min(sealed_at) FROM _bemi.links WHERE kind = 'begin'"
_OTHERS = """
SELECT uuid_send(id), position, timestamptz_send(committed_at)
FROM {} WHERE committed_at > %s AND ('x' || right(id::text, 8))::bit(32)::bigint & 1073741823 <> ALL (%s)
    AND database = ANY (%s)
ORDER BY id LIMIT 1000
"""
_NUMBER = "SELECT number FROM _bemi.chains WHERE name = %s"
_HASH = "SELECT hash FROM _bemi.links WHERE chain = %s AND number = %s"

#: Seconds after which a file gets to know how far a verification is.
SAVE_EVERY = 5.0

#: Called with what is verified and the part of it that is done, from 0 to 1.
Watch = Callable[[str, float], None]
#: Takes a snapshot for a block, given a cursor.
Snapshot = Callable[[Any], AbstractContextManager[None]]


def verify_chains(
    anchors: Sequence[Anchor] = (),
    watch: Watch = lambda what, part: None,
    progress: str | None = None,
) -> ChainReport:
    """Compare the log with its chains, and the chains with anchors.

    Some thousand changes are read at a time, each time in a snapshot of its own.

    Args:
        anchors: Anchors that were kept outside of the database.
        watch: Called as the work goes on.
        progress: A file that keeps how far this is. If it is there, an interrupted run is continued.

    Raises:
        BemiError: Nothing was ever sealed, the database cannot be read, or the file is of another log.
        psycopg2.Error: The same, for another reason.
    """
    with closing(psycopg2.connect(**conf.connection_parameters(conf.destination()))) as connection:
        connection.autocommit = True
        return verify_over(connection, anchors, watch, snapshot, progress)


def verify_over(
    connection: Any, anchors: Sequence[Anchor], watch: Watch, take: Snapshot, progress: str | None = None
) -> ChainReport:
    """Do the same over a connection of psycopg2; ``take`` takes its snapshots."""
    connection.set_client_encoding("UTF8")
    with connection.cursor() as cursor:
        cursor.execute(_SET)
        installed.require(cursor, "seal_v1")
        log = installed.log_of(cursor)
        cursor.execute(_CHAINS)
        chains = dict(cursor.fetchall())
        if not chains and not anchors:
            raise BemiError(
                "nothing was ever sealed: set BEMI_TAMPER_EVIDENCE to True and restart 'manage.py bemi run'"
            )
        file = None if progress is None else ProgressFile(progress, cursor)
        report = ChainReport() if file is None else file.report
        # They are read again from the first one.
        of_operations = ChainReport()
        operations = _Operations(cursor, of_operations, is_used=OPERATIONS in chains)
        sources: set[int] = set()
        databases: set[str] = set()
        for slot, names in _by_slot(chains).items():
            length = sum(chains[name] for name in names)
            walk = ChainWalk(log, slot, names, operations.found, report)
            is_over = False
            if file is None or slot not in file.walks:
                report.chains += len(names)
            else:
                walk.place = file.walks[slot]
                is_over = file.walks[slot]["is_over"]
            saved = time.monotonic()
            while not is_over:
                with take(cursor):
                    operations.read()
                    is_over = not walk.step(cursor)
                if file is not None and (is_over or time.monotonic() - saved >= SAVE_EVERY):
                    file.walks[slot] = {**walk.place, "is_over": is_over}
                    file.save()
                    saved = time.monotonic()
                watch(slot, min(walk.number / max(length, 1), 0.999))
            walk.require_all(cursor)
            sources |= walk.sources
            databases |= walk.databases
            watch(slot, 1.0)
        with take(cursor):
            operations.read()
            find_removed(cursor, log, operations.found, report)
        report.join(of_operations)
        _find_others(cursor, log, sources, databases, report)
        report.operations.extend(operations.found.lines())
        _compare_anchors(cursor, anchors, report)
        if file is not None:
            file.remove()
    return report


def _by_slot(chains: Iterable[str]) -> dict[str, list[str]]:
    """Return the chains of each slot: with a queue, it has one for each lane."""
    found: dict[str, list[str]] = {}
    for name in chains:
        if name != OPERATIONS:
            found.setdefault(name.partition(".")[0], []).append(name)
    return found


class _Operations:
    """Reads the chain of operations as far as it goes in each snapshot."""

    def __init__(self, cursor: Any, report: ChainReport, *, is_used: bool) -> None:
        self._cursor = cursor
        self._links = ChainLinks(OPERATIONS, report)
        self._is_used = is_used
        self.found = Operations()

    def read(self) -> None:
        self._cursor.execute(_NUMBER, [OPERATIONS])
        number = self._cursor.fetchone()
        if self._links.number == 0 or number is None or number[0] != self._links.number:
            self._is_used = self._is_used or number is not None
            while self._is_used and (links := self._links.read(self._cursor)):
                for link in links:
                    self.found.take(link)


def _find_others(cursor: Any, log: str, sources: set[int], databases: set[str], report: ChainReport) -> None:
    """Find changes of a sealed database that seem to come from another server."""
    cursor.execute(_BEGAN)
    (began,) = cursor.fetchone()
    if began is None:
        return
    cursor.execute(_OTHERS.format(log.replace("%", "%%")), [began, sorted(sources), sorted(databases)])
    for identifier, position, sent in cursor.fetchall():
        committed_at = int.from_bytes(sent, "big", signed=True)
        report.add(of_change("inserted", bytes(identifier), position, committed_at))


def _compare_anchors(cursor: Any, anchors: Sequence[Anchor], report: ChainReport) -> None:
    for anchor in anchors:
        cursor.execute(_HASH, [anchor.chain, anchor.number])
        found = cursor.fetchone()
        if found is None or bytes(found[0]).hex() != anchor.hash:
            report.add(
                of_link(
                    anchor.chain,
                    f"the link {anchor.number} is not the one of the anchor of {anchor.sealed_at}: the chain "
                    "was made again",
                )
            )
        report.anchors += 1


@contextmanager
def snapshot(cursor: Any) -> Iterator[None]:
    """Give a block a snapshot of its own, over a connection in autocommit."""
    cursor.execute(_BEGIN)
    try:
        yield
    finally:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
