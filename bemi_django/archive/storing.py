"""Write months of the log to an archive, and prove that they are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bemi_django.archive.columns import log_columns
from bemi_django.archive.live_log import LiveLog
from bemi_django.archive.location import Location
from bemi_django.archive.manifest import NAME, Manifest, check_files, part_name, read_manifest, write_manifest
from bemi_django.archive.month import Month
from bemi_django.archive.part import Digest, Part, read_part, write_part
from bemi_django.archive.row_streams import RowPlace
from bemi_django.exceptions import ArchiveError

#: The greatest number of changes in a file: what an interrupted run may have to write again.
PART_ROWS = 250_000

#: Called with a month and the part of it that is done, from 0 to 1.
Watch = Callable[[str, float], None]


class Stored(NamedTuple):
    """A month in the archive.

    Attributes:
        manifest: What is there.
        is_new: Whether it was written now.
    """

    manifest: Manifest
    is_new: bool


def store(log: LiveLog, location: Location, month: Month, watch: Watch) -> Stored:
    """Make sure that the archive has a month exactly as the log has it.

    Each file is read back after it is written. Files of a run that was interrupted are used if they hold what
    the log holds, and written again if not. The manifest comes last.

    Args:
        log: The log.
        location: The archive.
        month: A month that is over.
        watch: Called as the work goes on.

    Raises:
        ArchiveError: The archive has other changes of the month, or what it gives back differs.
    """
    manifest = read_manifest(location, month)
    if manifest is not None:
        check_files(location, manifest)
        require_equal(log, location, manifest)
        return Stored(manifest, is_new=False)
    manifest = _write(log, location, month, watch)
    return Stored(manifest, is_new=True)


def require_equal(log: LiveLog, location: Location, manifest: Manifest) -> None:
    """Compare the changes of the log with those of which the archive has the checksums.

    Raises:
        ArchiveError: They differ; the message says what to do.
    """
    if not is_equal(log, manifest):
        raise different(location, manifest.month)


def different(location: Location, month: Month) -> ArchiveError:
    """Return the error for a month of which the log and the archive have different changes."""
    return ArchiveError(
        f"the log and {location.shown(month)} have different changes of {month}; both are left as they "
        f"are. To archive the month again: run 'manage.py bemi import {month} --missing', which adds to "
        "the log what only the archive has, move the folder of the month away, and run 'manage.py bemi "
        "archive'"
    )


def is_equal(log: LiveLog, manifest: Manifest) -> bool:
    """Return whether the log has exactly the changes of a manifest in its month."""
    place: RowPlace | None = None
    for part in manifest.parts:
        digest = Digest()
        copied = log.rows(manifest.month, manifest.columns, place, part.rows, digest.add)
        if digest.value != (part.rows, part.digest):
            return False
        place = copied.last
    return log.rows(manifest.month, manifest.columns, place, 1, lambda row: None).rows == 0


class _Found(NamedTuple):
    part: Part
    last: RowPlace


def _write(log: LiveLog, location: Location, month: Month, watch: Watch) -> Manifest:
    columns = log_columns()
    present = location.names(month)
    parts: list[Part] = []
    place: RowPlace | None = None
    while log.rows(month, columns, place, 1, lambda row: None).rows:
        name = part_name(len(parts))
        found = _kept(log, location, month, name, columns, place) if name in present else None
        found = found or _written(log, location, month, name, columns, place)
        parts.append(found.part)
        place = found.last
        watch(str(month), _share(month, place))
    for name in sorted(location.names(month) - {part.name for part in parts}):
        location.delete(month, name)
    manifest = Manifest(month, columns, tuple(parts))
    write_manifest(location, manifest)
    if read_manifest(location, month) != manifest:
        raise _differs(location, month, NAME)
    watch(str(month), 1.0)
    return manifest


def _kept(
    log: LiveLog,
    location: Location,
    month: Month,
    name: str,
    columns: Mapping[str, str],
    after: RowPlace | None,
) -> _Found | None:
    """Return a file that an interrupted run has left, or None if it does not hold what the log holds."""
    try:
        part = read_part(location, month, name, columns)
    except ArchiveError:
        return None
    if not part.rows:
        return None
    digest = Digest()
    copied = log.rows(month, columns, after, part.rows, digest.add)
    return _Found(part, copied.last) if digest.value == (part.rows, part.digest) else None


def _written(
    log: LiveLog,
    location: Location,
    month: Month,
    name: str,
    columns: Mapping[str, str],
    after: RowPlace | None,
) -> _Found:
    """Write a file and read it back."""
    last: list[RowPlace] = []
    digest = write_part(
        location,
        month,
        name,
        columns,
        lambda receive: last.append(log.rows(month, columns, after, PART_ROWS, receive).last),
    )
    part = read_part(location, month, name, columns)
    if (part.rows, part.digest) != digest.value:
        raise _differs(location, month, name)
    return _Found(part, last[0])


def _share(month: Month, place: RowPlace) -> float:
    """Return how much of a month has passed at a place: ids are nearly in the order of time."""
    start, end = (
        (moment.timestamp() - 946_684_800) * 1_000_000 for moment in (month.start, month.next.start)
    )
    return min(max((place[1] - start) / (end - start), 0.0), 0.999)


def _differs(location: Location, month: Month, name: str) -> ArchiveError:
    return ArchiveError(
        f"{location.shown(month, name)} does not give back what was written to it: nothing was dropped. "
        "Check the storage and run 'manage.py bemi archive' again"
    )
