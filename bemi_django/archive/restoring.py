"""Bring a month of the archive back into the log."""

from __future__ import annotations

from collections.abc import Iterator

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


def restore(log: LiveLog, location: Location, manifest: Manifest, watch: Watch) -> bool:
    """Write the changes of a month to the log, all or none of them.

    Args:
        log: The log.
        location: The archive.
        manifest: The manifest of the month.
        watch: Called as the work goes on.

    Returns:
        False if the log has them already, and no others of the month.

    Raises:
        ArchiveError: A file is damaged, or a part of the month is in the log.
    """
    check_files(location, manifest)
    if is_equal(log, manifest):
        return False
    month = manifest.month
    log.make_partition(month)
    with log.transaction():
        is_empty = log.rows(month, manifest.columns, None, 1, lambda row: None).rows == 0
        try:
            log.insert(manifest.columns, _all_rows(location, manifest, watch))
        except UniqueViolation:
            raise ArchiveError(
                f"a part of {month} is in the log: nothing was imported. Only changes that the log does not "
                "have can be brought back"
            ) from None
        if is_empty and not is_equal(log, manifest):
            raise ArchiveError(
                f"the log does not give back the changes of {month} as {location.shown(month)} has them: "
                "nothing was imported. Look for triggers on the log, and for other columns"
            )
    watch(str(month), 1.0)
    return True


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
