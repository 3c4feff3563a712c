"""Bring a month of the archive back into the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from psycopg2.errors import UniqueViolation

from bemi_django.archive.live_log import LiveLog
from bemi_django.archive.location import Location
from bemi_django.archive.manifest import Manifest, check_files, read_manifest
from bemi_django.archive.month import Month
from bemi_django.archive.part import read_rows
from bemi_django.archive.storing import Watch, is_equal
from bemi_django.exceptions import ArchiveError


def require_manifest(location: Location, month: Month) -> Manifest:
    """Return the manifest of a month.

    Raises:
        ArchiveError: The archive does not have the month, or not all of it.
    """
    manifest = read_manifest(location, month)
    if manifest is None:
        found = (
            "not all of it: run 'manage.py bemi archive' again"
            if location.names(month)
            else _others(location)
        )
        raise ArchiveError(f"the archive {location.name} does not have {month}; {found}")
    return manifest


def restore(
    log: LiveLog,
    location: Location,
    manifest: Manifest,
    watch: Watch,
    only_missing: bool = False,
    who: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Write the changes of a month to the log, all or none of them.

    Args:
        log: The log.
        location: The archive.
        manifest: The manifest of the month.
        watch: Called as the work goes on.
        only_missing: Whether to leave out changes whose ids are in the log.
        who: Who brings it back, as ``operator_context()`` returns it.

    Returns:
        The number of changes that were written; 0 if the log has all of them.

    Raises:
        ArchiveError: A file is damaged, or a part of the month is in the log.
    """
    check_files(location, manifest)
    if is_equal(log, manifest):
        return 0
    month = manifest.month
    log.make_partition(month)
    with log.transaction():
        is_empty = log.rows(month, manifest.columns, None, 1, lambda row: None).rows == 0
        rows = _all_rows(location, manifest, watch)
        if is_empty or not only_missing:
            _insert(log, manifest, rows)
            written = manifest.changes
        else:
            written = log.insert_missing(manifest.columns, rows)
        if is_empty and not is_equal(log, manifest):
            raise ArchiveError(
                f"the log does not give back the changes of {month} as {location.shown(month)} has them: "
                "nothing was imported. Look for triggers on the log, and for other columns"
            )
        log.note_returned(month)
        log.note_imported(month, written, who)
    watch(str(month), 1.0)
    return written


def _insert(log: LiveLog, manifest: Manifest, rows: Iterator[bytes]) -> None:
    try:
        log.insert(manifest.columns, rows)
    except UniqueViolation:
        raise ArchiveError(
            f"a part of {manifest.month} is in the log: nothing was imported. With --missing, the changes "
            "that the log does not have are brought back"
        ) from None


def _all_rows(location: Location, manifest: Manifest, watch: Watch) -> Iterator[bytes]:
    done = 0
    for part in manifest.parts:
        for row in read_rows(location, manifest.month, part.name, manifest.columns):
            yield row
            done += 1
            if done % 10_000 == 0:
                watch(str(manifest.month), min(done / manifest.changes, 0.999))


def _others(location: Location) -> str:
    months = [str(month) for month in location.months() if read_manifest(location, month)]
    return f"it has {', '.join(months)}" if months else "it has no month"
