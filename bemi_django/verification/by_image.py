"""Compare how often a table and its log have each row, for tables whose rows no key tells apart.

Their rows are sorted by the servers, in one snapshot for the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing

from psycopg2 import DataError, InternalError
from psycopg2.sql import SQL

from bemi_django.verification import log_queries
from bemi_django.verification.explanations import origin_in_sql
from bemi_django.verification.findings import note
from bemi_django.verification.moment import take_moment
from bemi_django.verification.records.result import EXTRA, MISSING, OMITTED, REUSED, WRITTEN, Verified
from bemi_django.verification.streams import merge, snapshot, stream
from bemi_django.verification.subject import Subject
from bemi_django.verification.suspects import Difference
from bemi_django.verification.table import table_queries
from bemi_django.verification.table.live_rows import try_to_read
from bemi_django.verification.table.versions import changed_types

# All rows are read.
_WHOLE = "SET LOCAL enable_seqscan = on"


def by_image(subject: Subject, result: Verified) -> None:
    """Compare a table with its log.

    Columns that DDL has changed since are left out, and so are those that JSON cannot hold.

    Args:
        subject: The table.
        result: What is found is added to it.
    """
    table = subject.table
    types = {name: column.type for name, column in table.columns.items()}
    masked = set(subject.masks)
    omitted = subject.omissions.columns & set(table.columns) - masked
    ignored = changed_types(table.versions, types) | omitted | masked
    encrypted = {name for name, masks in subject.masks.items() if masks[0].encryption is not None}
    for names, how in ((masked - encrypted, "masked"), (encrypted, "encrypted")):
        if names:
            # Without a key, nobody knows which row of the log is to be compared with which of the table.
            why = "which takes a primary key"
            result.notes.append(f"without comparing columns that are {how}, {why} ({_names(names)})")
    failing: set[str] = set()
    try:
        findings = _count(subject, result, ignored)
    except (DataError, InternalError):
        failing = {
            name
            for name in table.columns
            if try_to_read(subject.source, table_queries.column_of_all(table, name)) is None
        }
        if failing <= ignored:
            raise
        result.notes.append(f"without columns that JSON cannot hold ({_names(failing)})")
        ignored |= failing
        findings = _count(subject, result, ignored)
    start = table.versions[0].xid if table.versions else 0
    altered = ignored | {
        name for name, column in table.columns.items() if start < max(column.defined, column.type_defined)
    }
    if altered != ignored and any(finding.kind == EXTRA for finding in findings):
        # ALTER TYPE ... USING may have given a column other values of the same type.
        again = Verified(str(table))
        if not _count(subject, again, altered):
            findings, ignored, result.explained = [], altered, again.explained
    if any(finding.kind == EXTRA for finding in findings):
        findings = _without_reused(subject, result, ignored, findings)
    if omitted:
        result.notes.append(f"without ignored columns ({_names(omitted)})")
    if left_out := ignored & set(table.columns) - failing - omitted - masked:
        result.notes.append(f"without columns that were altered ({_names(left_out)})")
    note(subject, result, list(_unexplained(subject, result, findings)))


def _without_reused(
    subject: Subject, result: Verified, ignored: set[str], findings: list[Difference]
) -> list[Difference]:
    """Return the differences that are left without transactions in which other tables had the same name."""
    known = [*subject.table.versions, *(leaf.since for leaf in subject.table.leaves if leaf.since)]
    reused = subject.reused.transactions(known)
    again = Verified(str(subject.table))
    if not reused or _count(subject, again, ignored, reused):
        return findings
    result.explained = {**again.explained, REUSED: sum(finding.times for finding in findings)}
    return []


def _unexplained(subject: Subject, result: Verified, findings: Iterable[Difference]) -> Iterator[Difference]:
    """Yield the differences that are more than what was left out explains."""
    for finding in findings:
        times = finding.times
        while times and subject.omissions.explains(finding.kind, result.explained.get(OMITTED, 0)):
            result.explain(OMITTED)
            times -= 1
        if times:
            yield finding._replace(times=times)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(sorted(columns))


def _count(
    subject: Subject, result: Verified, ignored: set[str], reused: Collection[int] = ()
) -> list[Difference]:
    rows = older = explained = 0
    findings = []
    leaves = subject.table.leaves
    here = [leaf.since and subject.bounds[leaf.since.lsn] for leaf in leaves]
    given = {
        "ignored": sorted(ignored),
        "partitions": [f"{leaf.schema}.{leaf.name}" for leaf in leaves],
        "bounds": here,
        "reused": list(reused),
    }
    live = table_queries.rows_by_image(subject.table, sorted(ignored), origin_in_sql(subject))
    with snapshot(subject.source) as cursor:
        # TRUNCATE takes the rows from a snapshot that is older, unless the table is locked before.
        cursor.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(subject.table.rows))
        moment = take_moment(subject.source)
        subject.wait(moment)
        given["snapshot"] = moment.snapshot
        cursor.execute(_WHOLE)
        with (
            snapshot(subject.destination) as log_cursor,
            closing(
                stream(subject.destination, *subject.ask_log(log_queries.COUNTED_BY_IMAGE, given))
            ) as log,
            closing(stream(subject.source, live)) as found,
        ):
            log_cursor.execute(_WHOLE)
            for digest, logged, present in merge(log, found):
                if int(digest[:12], 16) % subject.part.of != subject.part.number:
                    continue
                left, ever = logged or (0, 0)
                total, old, ddl = present or (0, 0, 0)
                rows, older = rows + total, older + old
                # Nobody can tell which of two equal rows was deleted: it may have been the older one.
                lacking = max(total - old - (ever or 0), 0)
                explained += min(lacking, ddl)
                for kind, count in ((EXTRA, left - total), (MISSING, lacking - ddl)):
                    if count > 0:
                        findings.append(_finding(kind, digest, count))
    result.rows, result.older, result.explained = rows, older, {}
    if explained:
        result.explain(WRITTEN, explained)
    return findings


def _finding(kind: str, digest: str, count: int) -> Difference:
    seen = hashlib.sha256(f"{kind}:{digest}:{count}".encode()).digest()
    return Difference(kind, "", [], "", seen, count)
