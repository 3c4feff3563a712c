"""Compare a table that has a primary key with its log, piece by piece.

No piece holds a snapshot for longer than its query, nor more rows than a batch in memory. First the rows of
each range of blocks are looked up in the log, then the keys of the log in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg2.sql import SQL, Literal

from bemi_django.verification.explanations import OLDER, explain_missing, is_detached
from bemi_django.verification.findings import note
from bemi_django.verification.logged_rows import Entry, keys_after, last_entries
from bemi_django.verification.records.result import (
    ATTACHED,
    DETACHED,
    DIFFERENT,
    EXTRA,
    MISSING,
    OMITTED,
    Verified,
)
from bemi_django.verification.records.runs import Place
from bemi_django.verification.subject import Subject
from bemi_django.verification.suspects import differing, in_batches, look_closer
from bemi_django.verification.table import table_queries
from bemi_django.verification.table.compared_table import Leaf
from bemi_django.verification.table.live_rows import LiveRow, read_rows

#: Blocks of a table that are read at once.
BLOCKS = 128
#: Keys of the log that are read at once.
KEYS = 2000

_SIZE = (
    "SELECT pg_catalog.pg_relation_size({}::pg_catalog.oid) "
    "OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8"
)


def by_key(subject: Subject, result: Verified, place: Place) -> Iterator[tuple[Place, float]]:
    """Compare a table with its log.

    Args:
        subject: The table.
        result: What was found up to the place; it is added to.
        place: Where to begin: empty, or one that was yielded.

    Yields:
        Each place up to which the comparison is complete, and what part of the whole that is.
    """
    if "name" not in place:
        yield from _compare_table(subject, result, place)
    names = list(dict.fromkeys((name.schema, name.table) for name in subject.names))
    done = 0
    for number, name in enumerate(names):
        if number < place.get("name", 0):
            continue
        same = [each for each in subject.names if (each.schema, each.table) == name]
        after = place.get("after") if number == place.get("name") else None
        while keys := keys_after(subject, same, after, KEYS):
            _compare_keys(subject, result, name, keys)
            after, done = keys[-1], done + len(keys)
            yield {"name": number, "after": after}, 0.5 + min(done / max(result.rows, 1), 1) / 2


def _compare_table(subject: Subject, result: Verified, place: Place) -> Iterator[tuple[Place, float]]:
    leaves = subject.table.leaves
    for number, leaf in enumerate(leaves):
        if leaf.oid < place.get("leaf", 0):
            continue
        first = place.get("block", 0) if leaf.oid == place.get("leaf") else 0
        blocks = _blocks(subject, leaf)
        for block in range(first, blocks, BLOCKS):
            _compare_blocks(subject, result, leaf, block)
            done = min((block + BLOCKS) / blocks, 1)
            yield {"leaf": leaf.oid, "block": block + BLOCKS}, (number + done) / len(leaves) / 2


def _blocks(subject: Subject, leaf: Leaf) -> int:
    with subject.source.cursor() as cursor:
        cursor.execute(SQL(_SIZE).format(Literal(leaf.oid)))
        return int(cursor.fetchone()[0])


def _compare_blocks(subject: Subject, result: Verified, leaf: Leaf, block: int) -> None:
    """Note the rows that the log does not have."""
    query = table_queries.keys_in_blocks(subject.table, leaf, block, block + BLOCKS, subject.part)
    with subject.source.cursor() as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()
    result.rows += len(rows)
    for start in range(0, len(rows), KEYS):
        batch = rows[start : start + KEYS]
        entries = last_entries(subject, [key for key, _ in batch])
        suspects = []
        for key, xmin in batch:
            entry = entries.get(key)
            if entry is not None and entry.digest is not None:
                continue
            reason = explain_missing(subject, key, xmin, leaf)
            if reason and (entry is None or reason == ATTACHED):
                _explain(result, reason)
            else:
                suspects.append(key)
        _settle(subject, result, suspects, {}, (MISSING,))


def _compare_keys(subject: Subject, result: Verified, name: tuple[str, str], keys: Sequence[str]) -> None:
    """Note the rows that only the log has, and those that are different."""
    entries = {
        key: entry
        for key, entry in last_entries(subject, keys).items()
        if entry.digest is not None and (entry.schema, entry.table) == name
    }
    rows = read_rows(subject.source, subject.table, list(entries))
    suspects, unlike = [], []
    for key, entry in entries.items():
        row = rows.get(key)
        if row is None and is_detached(subject, entry):
            result.explain(DETACHED)
        elif row is None:
            suspects.append(key)
        elif row.digest != entry.digest:
            unlike.append(key)
            result.unprintable += row.digest is None
    lengths = {key: (entry.length or 0) + _length(rows, key) for key, entry in entries.items()}
    for batch in in_batches(unlike, lengths):
        suspects += _really_unlike(subject, result, batch)
    _settle(subject, result, suspects, lengths, (EXTRA, DIFFERENT))


def _length(rows: Mapping[str, LiveRow], key: str) -> int:
    return rows[key].length if key in rows else 0


def _really_unlike(subject: Subject, result: Verified, keys: list[str]) -> list[str]:
    """Return the keys whose rows differ: most texts do because the table was altered, or is encrypted."""
    entries: dict[str, Entry] = last_entries(subject, keys, is_whole=True)
    rows = read_rows(subject.source, subject.table, keys, is_whole=True)
    both = [key for key in keys if key in rows and key in entries and entries[key].image is not None]
    columns = differing(subject, [(str(entries[key].image), str(rows[key].image)) for key in both], result)
    same = {key for key, names in zip(both, columns, strict=True) if not names}
    return [key for key in keys if key not in same]


def _settle(
    subject: Subject,
    result: Verified,
    suspects: Sequence[str],
    lengths: Mapping[str, int],
    kinds: Sequence[str],
) -> None:
    for batch in in_batches(suspects, lengths):
        findings = list(look_closer(subject, batch, kinds))
        unexplained = []
        for finding in findings:
            if finding.reason:
                _explain(result, finding.reason)
            elif subject.omissions.explains(finding.kind, result.explained.get(OMITTED, 0)):
                result.explain(OMITTED)
            else:
                unexplained.append(finding)
        note(subject, result, unexplained)


def _explain(result: Verified, reason: str) -> None:
    if reason == OLDER:
        result.older += 1
    else:
        result.explain(reason)
