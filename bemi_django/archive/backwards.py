"""Read archived changes from the newest to the oldest, a few at a time, from any place on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow
from pyarrow import compute, parquet

from bemi_django.archive.location import Location
from bemi_django.archive.manifest import Manifest, read_manifest
from bemi_django.archive.month import Month, parse_month
from bemi_django.exceptions import ArchiveError

_TEXT = re.compile(r"(\d{4}-\d\d)\.(\d{1,5})\.(\d{1,9})", re.ASCII)
#: The greatest number of changes, and about the number of bytes, that are handed out at a time.
_ROWS = 1_000
_BYTES = 4 * 1024 * 1024


class ArchivePlace(NamedTuple):
    """A place in an archive: the changes with smaller numbers in a file of a month come next."""

    month: Month
    part: int
    row: int

    def __str__(self) -> str:
        return f"{self.month}.{self.part}.{self.row}"


class ArchivedRows(NamedTuple):
    """Neighbouring changes of a file, in its order.

    Attributes:
        table: The changes, as a table of Arrow.
        places: Where each of them is.
    """

    table: Any
    places: list[ArchivePlace]


class Wanted(NamedTuple):
    """What a reader looks for. Only changes that cannot match are left out.

    Attributes:
        since: The first moment, or None.
        until: The moment before which changes are wanted, or None.
        values: Columns of text with the value that they have to have.
    """

    since: datetime | None = None
    until: datetime | None = None
    values: Mapping[str, str] = {}


def parse_place(text: str) -> ArchivePlace:
    """Return the place that was written as text.

    Raises:
        ValueError: The text is not a place.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return ArchivePlace(parse_month(found[1]), int(found[2]), int(found[3]))


def read_backwards(location: Location, place: ArchivePlace | None, wanted: Wanted) -> Iterator[ArchivedRows]:
    """Yield changes, the newest file and the newest rows first.

    Args:
        location: The archive.
        place: Where to begin, or None for the newest change.
        wanted: What to look for.

    Raises:
        ArchiveError: A file cannot be read.
    """
    for month in reversed(location.months()):
        if place is not None and month > place.month or not _overlaps(month, wanted):
            continue
        manifest = read_manifest(location, month)
        if manifest is None:
            continue
        for number in reversed(range(len(manifest.parts))):
            end = None
            if place is not None and month == place.month:
                if number > place.part:
                    continue
                end = place.row if number == place.part else None
            yield from _rows_of_part(location, manifest, number, end, wanted)


def _rows_of_part(
    location: Location, manifest: Manifest, number: int, end: int | None, wanted: Wanted
) -> Iterator[ArchivedRows]:
    part = manifest.parts[number]
    try:
        with location.opened(manifest.month, part.name) as source:
            file = parquet.ParquetFile(source)
            first = file.metadata.num_rows
            for group in reversed(range(file.num_row_groups)):
                first -= file.metadata.row_group(group).num_rows
                if end is None or first < end:
                    table = file.read_row_group(group)
                    if end is not None:
                        table = table.slice(0, end - first)
                    for start, found in _slices(_numbered(table, first, wanted)):
                        places = [ArchivePlace(manifest.month, number, row) for row in start]
                        yield ArchivedRows(found, places)
    except (pyarrow.ArrowException, ValueError) as error:
        raise ArchiveError(f"{location.shown(manifest.month, part.name)} cannot be read") from error


def _numbered(table: Any, first: int, wanted: Wanted) -> tuple[Any, Any]:
    """Return the rows that may match, and their numbers."""
    numbers = pyarrow.array(range(first, first + table.num_rows))
    moment = table.column("committed_at")
    conditions = [compute.equal(table.column(name), value) for name, value in wanted.values.items()]
    if wanted.since is not None:
        conditions.append(compute.greater_equal(moment, pyarrow.scalar(wanted.since, moment.type)))
    if wanted.until is not None:
        conditions.append(compute.less(moment, pyarrow.scalar(wanted.until, moment.type)))
    for condition in conditions[1:]:
        conditions[0] = compute.and_(conditions[0], condition)
    if conditions:
        return table.filter(conditions[0]), numbers.filter(conditions[0].combine_chunks())
    return table, numbers


def _slices(numbered: tuple[Any, Any]) -> Iterator[tuple[list[int], Any]]:
    """Yield pieces from the end, with the numbers of their rows."""
    table, numbers = numbered
    end = table.num_rows
    size = max(1, min(_ROWS, _BYTES * end // max(table.nbytes, 1))) if end else 1
    while end:
        start = max(0, end - size)
        yield numbers.slice(start, end - start).to_pylist(), table.slice(start, end - start)
        end = start


def _overlaps(month: Month, wanted: Wanted) -> bool:
    return (wanted.until is None or month.start < wanted.until) and (
        wanted.since is None or month.next.start > wanted.since
    )
