"""Look closer at rows that seem to differ: in one snapshot, when the log has everything that it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from psycopg2.sql import SQL

from bemi_django.verification.explanations import (
    explain_missing,
    is_detached,
    is_from_before_attached,
    is_of_reused_name,
    is_rekeyed,
    unexplained,
)
from bemi_django.verification.logged_rows import Entry, last_entries, last_image
from bemi_django.verification.masked.encrypted_values import Comparison
from bemi_django.verification.masked.masked_columns import without_masked
from bemi_django.verification.moment import take_moment
from bemi_django.verification.records.result import (
    ATTACHED,
    CONVERTED,
    DETACHED,
    DIFFERENT,
    ERASED,
    EXTRA,
    MISSING,
    REKEYED,
    REUSED,
    UNREADABLE,
    Verified,
)
from bemi_django.verification.streams import snapshot
from bemi_django.verification.subject import Subject
from bemi_django.verification.table import table_queries
from bemi_django.verification.table.live_rows import LiveRow, read_rows, try_to_read

#: Rows, and characters of rows, that are read at once.
BATCH, CHARACTERS = 1000, 8_000_000
_UNKNOWN = {Comparison.ERASED: ERASED, Comparison.UNREADABLE: UNREADABLE}


class Difference(NamedTuple):
    """A difference: ``reason`` explains it, if it is not empty; ``columns`` are those that differ.

    ``digest`` stays the same while neither the log nor the table changes. Equal rows without a key are
    counted by ``times``.
    """

    kind: str
    key: str
    columns: list[str]
    reason: str
    digest: bytes
    times: int = 1


def in_batches(keys: Iterable[str], lengths: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield keys, so many at once as their rows may be held in memory."""
    batch: list[str] = []
    characters = 0
    for key in keys:
        characters += lengths.get(key, 0)
        if batch and (len(batch) == BATCH or characters > CHARACTERS):
            yield batch
            batch, characters = [], lengths.get(key, 0)
        batch.append(key)
    if batch:
        yield batch


def look_closer(subject: Subject, keys: Sequence[str], kinds: Sequence[str]) -> Iterator[Difference]:
    """Yield the differences of some kinds between rows and what the log says of them.

    Args:
        subject: The table.
        keys: The keys of the rows.
        kinds: The kinds of differences that are wanted.
    """
    with snapshot(subject.source) as cursor:
        # TRUNCATE takes the rows from a snapshot that is older, unless the table is locked before.
        cursor.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(subject.table.rows))
        moment = take_moment(subject.source)
        rows = read_rows(subject.source, subject.table, keys, is_whole=True)
    subject.wait(moment)
    entries = last_entries(subject, keys, moment.snapshot, is_whole=True)
    likely = [key for key in keys if not _agree(entries.get(key), rows.get(key))]
    pairs = [
        (str(entries[key].image), str(rows[key].image)) for key in likely if _has_both(entries, rows, key)
    ]
    columns = dict(
        zip((key for key in likely if _has_both(entries, rows, key)), differing(subject, pairs), strict=True)
    )
    for key in likely:
        if columns.get(key) == []:
            continue
        found = _judge(subject, key, entries.get(key), rows.get(key), moment.snapshot)
        if found is not None and found.kind in kinds:
            yield found


def differing(
    subject: Subject, pairs: Sequence[tuple[str, str]], result: Verified | None = None
) -> list[list[str]]:
    """Return the columns whose values differ, for each pair of a row of the log and one of the table.

    Columns that were ignored at some time are not compared, and masked ones as far as that is possible.

    Args:
        subject: The table.
        pairs: The rows as JSON.
        result: Where rows are counted of which an encrypted value could not be compared.
    """
    ignored = subject.omissions.columns - subject.masks.keys()
    subject.encrypted.learn(logged for logged, _ in pairs)
    parted = [without_masked(subject.masks, *pair, subject.encrypted) for pair in pairs]
    if result is not None:
        for why in (why for row in parted for why in row.unknown):
            result.explain(_UNKNOWN[why])
    others = _differing(subject, [(row.rest, found) for row, (_, found) in zip(parted, pairs, strict=True)])
    return [
        [*(name for name in names if name not in ignored), *row.differing]
        for names, row in zip(others, parted, strict=True)
    ]


def _differing(subject: Subject, pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    if not pairs:
        return []
    found = try_to_read(subject.source, table_queries.differing_columns(subject.table, pairs))
    if found is not None:
        return [columns for (columns,) in found]
    if len(pairs) == 1:
        # A value of the log is none of the column's present type.
        with subject.source.cursor() as cursor:
            cursor.execute(table_queries.unlike_columns(*pairs[0]))
            return [columns for (columns,) in cursor.fetchall()]
    middle = len(pairs) // 2
    return _differing(subject, pairs[:middle]) + _differing(subject, pairs[middle:])


def _has_both(entries: Mapping[str, Entry], rows: Mapping[str, LiveRow], key: str) -> bool:
    return key in rows and key in entries and entries[key].image is not None


def _agree(entry: Entry | None, row: LiveRow | None) -> bool:
    if entry is None or entry.image is None:
        return row is None
    return row is not None and row.digest == entry.digest


def _judge(
    subject: Subject, key: str, entry: Entry | None, row: LiveRow | None, moment: str
) -> Difference | None:
    """Return a difference, unless rows have exchanged their keys in one statement."""
    logged = None if entry is None else last_image(subject, key, moment)
    image = None if row is None else row.image
    digest = _digest(key, logged, image)
    reused = REUSED if entry is not None and is_of_reused_name(subject, entry) else ""
    leaf = next((leaf for leaf in subject.table.leaves if row is not None and leaf.oid == row.leaf), None)
    if row is not None and logged is None:
        return Difference(MISSING, key, [], explain_missing(subject, key, row.xmin, leaf) or reused, digest)
    if row is None and entry is not None and logged is not None:
        altered = REKEYED if is_rekeyed(subject, entry) else ""
        return Difference(
            EXTRA, key, [], DETACHED if is_detached(subject, entry) else reused or altered, digest
        )
    if row is not None and entry is not None and logged is not None and image is not None:
        (columns,) = differing(subject, [(logged, image)])
        wrong = unexplained(subject, entry, columns, row.xmin)
        if wrong and is_from_before_attached(subject, entry, row.xmin, leaf):
            return Difference(DIFFERENT, key, wrong, ATTACHED, digest)
        if columns:
            return Difference(DIFFERENT, key, wrong, reused if wrong else CONVERTED, digest)
    return None


def _digest(key: str, logged: str | None, found: str | None) -> bytes:
    digest = hashlib.sha256()
    for text in (key, logged, found):
        data = b"" if text is None else text.encode()
        digest.update(f"{-1 if text is None else len(data)}:".encode() + data)
    return digest.digest()
