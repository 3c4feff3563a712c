"""Tell which differences between a table and its log DDL explains."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2.sql import SQL, Composable, Literal

from bemi_django.verification.logged_rows import Entry
from bemi_django.verification.records.result import ATTACHED, CREATED, REKEYED, REWRITTEN
from bemi_django.verification.subject import Subject
from bemi_django.verification.table.compared_table import Leaf
from bemi_django.verification.table.key_columns import parts_of_key
from bemi_django.verification.table.transaction_ids import whole_xid
from bemi_django.verification.table.versions import is_other_column, tracked_since

#: A row that was there before its table was tracked, or before the slot was made.
OLDER = "older"


def start_of(subject: Subject) -> int:
    """Return the id of the transaction from which on the log has all changes of a table."""
    versions, removed = subject.table.versions, subject.removed
    return max(
        subject.start_xid,
        tracked_since(versions),
        removed.transaction_id + 1 if removed is not None else 0,
    )


def explain_missing(subject: Subject, key: str, xmin: int, leaf: Leaf | None) -> str:
    """Return why the log need not have a row, or an empty string.

    Args:
        subject: The table.
        key: The key of the row.
        xmin: The lower 32 bits of the id of the transaction that wrote the row.
        leaf: The partition that has the row.
    """
    table = subject.table
    xid = whole_xid(xmin, table.latest)
    if xid < start_of(subject):
        return OLDER
    if table.is_partitioned and leaf is not None and leaf.since is not None and xid <= leaf.since.xid:
        return ATTACHED
    if table.versions and xid == table.versions[0].xid:
        return CREATED
    if xid in table.altered:
        return REWRITTEN
    return REKEYED if is_relabeled(subject, key, xid) else ""


def origin_in_sql(subject: Subject) -> Composable:
    """Return an expression on ``_bemi_row``: 1 if it is older than the log, 2 if DDL has written it, or 0."""
    table = subject.table
    age = SQL(
        "pg_catalog.age(_bemi_row.xmin) {} "
        "pg_catalog.age(({}::pg_catalog.text)::pg_catalog.xid8::pg_catalog.xid)"
    )
    cases = [(age.format(SQL("OPERATOR(pg_catalog.>)"), Literal(start_of(subject))), 1)]
    if table.is_partitioned:
        for leaf in table.leaves:
            if leaf.since is not None:
                is_leaf = SQL("_bemi_row.tableoid::pg_catalog.int8 OPERATOR(pg_catalog.=) {} AND ").format(
                    Literal(leaf.oid)
                )
                attached = age.format(SQL("OPERATOR(pg_catalog.>=)"), Literal(leaf.since.xid))
                cases.append((is_leaf + attached, 2))
    altered = [xid & 0xFFFFFFFF for xid in table.altered]
    if altered:
        is_altered = SQL(
            "_bemi_row.xmin::pg_catalog.text::pg_catalog.int8 "
            "OPERATOR(pg_catalog.=) ANY ({}::pg_catalog.int8[])"
        )
        cases.append((is_altered.format(Literal(altered)), 2))
    whens = [SQL("WHEN {} THEN {}").format(condition, Literal(origin)) for condition, origin in cases]
    return SQL("CASE {} ELSE 0 END").format(SQL(" ").join(whens))


def is_from_before_attached(subject: Subject, entry: Entry, xmin: int, leaf: Leaf | None) -> bool:
    """Tell whether a row was last written before its partition was attached, and its last change is older."""
    if not subject.table.is_partitioned or leaf is None or leaf.since is None:
        return False
    is_older = subject.earlier < entry.id <= subject.bounds[leaf.since.lsn]
    return is_older and whole_xid(xmin, subject.table.latest) <= leaf.since.xid


def is_detached(subject: Subject, entry: Entry) -> bool:
    """Tell whether the partition of an entry was dropped or detached since."""
    if entry.partition is None:
        return False
    for leaf in subject.table.leaves:
        if f"{leaf.schema}.{leaf.name}" == entry.partition:
            since = leaf.since
            return since is not None and subject.earlier < entry.id <= subject.bounds[since.lsn]
    return True


def is_of_reused_name(subject: Subject, entry: Entry) -> bool:
    """Tell whether an entry may be of another table that had the name in the same transaction."""
    if entry.id <= subject.earlier:
        return False
    name = entry.schema, entry.table
    for leaf in subject.table.leaves:
        if f"{leaf.schema}.{leaf.name}" == entry.partition:
            name = leaf.schema, leaf.name
    return subject.reused.had_several(name, entry.xid)


def is_rekeyed(subject: Subject, entry: Entry) -> bool:
    """Tell whether ALTER may have given the row of an entry another key since."""
    columns = subject.table.columns
    return entry.id > subject.earlier and (
        is_relabeled(subject, entry.key, entry.xid)
        or any(
            column.name in columns and columns[column.name].defined == column.indexed >= entry.xid
            for column in subject.table.key
        )
    )


def is_relabeled(subject: Subject, key: str, xid: int) -> bool:
    """Tell whether ALTER TYPE may have changed how a key is printed since a transaction.

    A row cannot have been written with a label that its enum did not have.
    """
    columns = subject.table.columns
    for column, part in zip(subject.table.key, parts_of_key(key, subject.table.key), strict=False):
        if column.labels is None:
            given = columns[column.name].type_defined if column.name in columns else 0
        else:
            given = column.labels.get(part, xid + 1)
        if given > xid:
            return True
    return False


def unexplained(subject: Subject, entry: Entry, columns: Iterable[str], xmin: int) -> list[str]:
    """Return those of the columns whose values should be as in the log.

    Args:
        subject: The table.
        entry: The last change of a row.
        columns: Columns whose values differ.
        xmin: The lower 32 bits of the id of the transaction that wrote the row.
    """
    table = subject.table
    then = [version for version in table.versions if _is_valid_for(subject, version.lsn, version.xid, entry)]
    since = table.versions[max(len(then) - 1, 0) :]
    types = {name: column.type for name, column in table.columns.items()}
    is_rewritten = whole_xid(xmin, table.latest) in table.altered
    is_here = entry.id > subject.earlier
    if is_here and (
        is_relabeled(subject, entry.key, entry.xid) or is_rewritten and is_rekeyed(subject, entry)
    ):
        # It may be another row, which has got the key.
        return []
    found = []
    for name in columns:
        column = table.columns.get(name)
        if column is None or is_other_column(since, types, name):
            continue
        if is_here and (column.type_defined >= entry.xid or (is_rewritten and column.defined >= entry.xid)):
            continue
        found.append(name)
    return found


def _is_valid_for(subject: Subject, lsn: int, xid: int, entry: Entry) -> bool:
    # A change of the transaction that altered the table may be from before it did.
    return subject.earlier < entry.id and subject.bounds[lsn] < entry.id and entry.xid != xid
