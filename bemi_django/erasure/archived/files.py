"""Erase values from an archive: new files, and a manifest that names them instead of the old ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from bemi_django import conf
from bemi_django.archive.location import Location
from bemi_django.archive.manifest import (
    NAME,
    Manifest,
    check_files,
    part_name,
    read_manifest,
    write_manifest,
)
from bemi_django.archive.part import Part, read_part, write_part
from bemi_django.erasure import records
from bemi_django.erasure.archived.change import ArchivedChange, rows_of_part
from bemi_django.erasure.contexts import ContextEraser
from bemi_django.erasure.remains import Remains
from bemi_django.erasure.rewriting import WHO
from bemi_django.erasure.targets.target import Target
from bemi_django.exceptions import ArchiveError
from bemi_django.ingest.destination.sealing import note_replaced
from bemi_django.log.lossless_json import loads
from bemi_django.log.values.json_values import contained
from bemi_django.retention.table_rule import TableRule
from bemi_django.schema.search_path import closed_cursor
from bemi_django.seals.records import seal_again

_PRINTED = """
SELECT n.context::text FROM unnest(%s::text[]::jsonb[]) WITH ORDINALITY n (context, place) ORDER BY n.place
"""
_IN_THE_LOG = "SELECT id::text FROM {log} WHERE id = ANY (%s::text[]::uuid[])"
#: Changes that are rewritten at once.
_BATCH = 500

Watch = Callable[[str, float], None]


class ArchivePart(NamedTuple):
    """What is to be erased in an archive.

    Attributes:
        location: The archive.
        targets: The changes.
        remains: Takes values out of rows.
        contexts: Takes values out of contexts.
        erasure: The number of the erasure.
        log: The name of the log, quoted.
        user: The key of the person, if they are a user.
        held: Tables whose changes stay as they are.
    """

    location: Location
    targets: Sequence[Target]
    remains: Remains
    contexts: ContextEraser
    erasure: int
    log: str
    user: Any = None
    held: Sequence[TableRule] = ()


class _Month(NamedTuple):
    """What a month has of a person: the transactions that wrote it, and the statements."""

    transactions: frozenset[tuple[bytes, int, int]]
    statements: frozenset[str]
    requests: frozenset[str]


def manifests_of(location: Location) -> Iterator[Manifest]:
    """Yield the manifests of the months that the archive has."""
    for month in location.months():
        manifest = read_manifest(location, month)
        if manifest is not None:
            yield manifest


def erase_archive(job: ArchivePart, watch: Watch) -> None:
    """Erase values from all months of an archive, on which no other process may work meanwhile.

    A month is replaced by its manifest, so it is whole whenever the process ends. Files that the manifest
    does not name are deleted, also those that an interrupted run has left.

    Args:
        job: What is to be erased.
        watch: Called as the work goes on.

    Raises:
        ArchiveError: A file is damaged, or gives back something else than was written to it.
    """
    for manifest in manifests_of(job.location):
        _tidy(job.location, manifest)
        check_files(job.location, manifest)
        found = _look(job, manifest)
        if found.transactions or job.user is not None:
            _tidy(job.location, _rewritten(job, manifest, found, watch))
        watch(str(manifest.month), 1.0)


def _look(job: ArchivePart, manifest: Manifest) -> _Month:
    transactions, statements, requests = set(), set(), set()
    for part in manifest.parts:
        for row in rows_of_part(job.location, manifest, part):
            if any(row.is_of(target) for target in job.targets):
                transactions.add(row.transaction)
                statements.add(_of_context(row, "SQL"))
                requests.add(_of_context(row, "request_id"))
    return _Month(frozenset(transactions), frozenset(statements), frozenset(filter(None, requests)))


def _of_context(row: ArchivedChange, key: str) -> str:
    found = row.context.get(key)
    return found if isinstance(found, str) else ""


def _rewritten(job: ArchivePart, manifest: Manifest, found: _Month, watch: Watch) -> Manifest:
    """Write the files that change anew, and return the manifest that then counts."""
    taken = {*job.location.names(manifest.month), *(part.name for part in manifest.parts)}
    names = (name for number in range(100_000) if (name := part_name(number)) not in taken)
    parts: list[Part] = []
    for number, part in enumerate(manifest.parts):
        if any(_may_change(job, row, found) for row in rows_of_part(job.location, manifest, part)):
            parts.append(_written(job, manifest, part, next(names), found))
        else:
            parts.append(part)
        watch(str(manifest.month), min((number + 1) / len(manifest.parts), 0.999))
    if parts == list(manifest.parts):
        return manifest
    new = manifest._replace(parts=tuple(parts))
    write_manifest(job.location, new)
    if read_manifest(job.location, manifest.month) != new:
        raise _differs(job.location, manifest, NAME)
    return new


def _may_change(job: ArchivePart, row: ArchivedChange, found: _Month) -> bool:
    if any(rule.is_for(str(row.text("schema")), str(row.text("table"))) for rule in job.held):
        return False
    if row.transaction in found.transactions or _is_theirs(job, row):
        return True
    return bool(found.requests) and _of_context(row, "request_id") in found.requests


def _is_theirs(job: ArchivePart, row: ArchivedChange) -> bool:
    if job.user is None or row.text("database") != job.targets[0].place.database:
        return False
    wanted, found = loads(contained({"user_id": job.user}))["user_id"], row.context.get("user_id")
    # Python takes true for one.
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _written(job: ArchivePart, manifest: Manifest, part: Part, name: str, found: _Month) -> Part:
    def copy(receive: Callable[[bytes], object]) -> None:
        rows = rows_of_part(job.location, manifest, part)
        while batch := list(islice(rows, _BATCH)):
            for row in _erased(job, batch, found):
                receive(row.as_copy())

    digest = write_part(job.location, manifest.month, name, manifest.columns, copy)
    new = read_part(job.location, manifest.month, name, manifest.columns)
    if (new.rows, new.digest) != digest.value or (new.rows, new.first_id, new.last_id) != (
        part.rows,
        part.first_id,
        part.last_id,
    ):
        raise _differs(job.location, manifest, name)
    return new


def _erased(job: ArchivePart, rows: list[ArchivedChange], found: _Month) -> list[ArchivedChange]:
    left = list(rows)
    chosen = [place for place, row in enumerate(rows) if _may_change(job, row, found)]
    if not chosen:
        return left
    with closed_cursor(conf.destination()) as cursor:
        contexts = [
            job.contexts.erased(
                str(rows[place].text("context")), found.statements, is_theirs=_is_theirs(job, rows[place])
            )
            for place in chosen
        ]
        cursor.execute(_PRINTED, [contexts])
        for place, (context,) in zip(chosen, cursor.fetchall(), strict=True):
            left[place] = left[place].replaced(left[place].stored._replace(context=context))
        for target in job.targets:
            own = [place for place in chosen if left[place].is_of(target)]
            changes = job.remains.of_changes(cursor, target, [left[place].stored for place in own])
            _count(job, cursor, target, changes)
            for place, (change, _) in zip(own, changes, strict=True):
                left[place] = left[place].replaced(change)
        # Before the file counts: an erasure that is interrupted is repeated, and says it again.
        _seal(job, cursor, [left[place] for place in chosen])
    return left


def _seal(job: ArchivePart, cursor: Any, rows: Sequence[ArchivedChange]) -> None:
    """Seal changes again that are only in the archive."""
    present = _in_the_log(job, cursor, [str(row.text("id")) for row in rows])
    sealed = seal_again(row.sealed for row in rows if row.text("id") not in present)
    note_replaced(cursor, [sealed], WHO, is_erased=True)


def _in_the_log(job: ArchivePart, cursor: Any, ids: Sequence[str]) -> set[str]:
    cursor.execute(_IN_THE_LOG.format(log=job.log.replace("%", "%%")), [list(ids)])
    return {found for (found,) in cursor.fetchall()}


def _count(job: ArchivePart, cursor: Any, target: Target, changes: Sequence[Any]) -> None:
    """Note the changes that are only in the archive: the others are counted in the log."""
    present = _in_the_log(job, cursor, [change.id for change, _ in changes])
    rows: dict[str, tuple[int, set[str]]] = defaultdict(lambda: (0, set()))
    for change, columns in changes:
        if change.id not in present:
            number, names = rows[change.primary_key or ""]
            rows[change.primary_key or ""] = number + 1, names | set(columns)
    records.count(cursor, job.erasure, target, rows)


def _tidy(location: Location, manifest: Manifest) -> None:
    named = {NAME, *(part.name for part in manifest.parts)}
    for name in sorted(location.names(manifest.month) - named):
        location.delete(manifest.month, name)


def _differs(location: Location, manifest: Manifest, name: str) -> ArchiveError:
    return ArchiveError(
        f"{location.shown(manifest.month, name)} does not give back what was written to it: the month is as "
        "it was. Check the storage and run the command again"
    )
