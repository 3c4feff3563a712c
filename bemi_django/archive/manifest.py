"""The manifest of a month: the files that are its whole, written when all of them are there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from bemi_django.archive.columns import KINDS
from bemi_django.archive.location import Location
from bemi_django.archive.month import Month
from bemi_django.archive.part import Part, read_checksum
from bemi_django.exceptions import ArchiveError

NAME = "manifest.json"
_FORMAT = 1
_PART = re.compile(r"part-\d{5}\.parquet", re.ASCII)
_CHANGED = "is damaged: its checksum is not that of the file that was written"
_COLUMN = re.compile(r"[a-z_]+", re.ASCII)


class Manifest(NamedTuple):
    """What the archive has of a month.

    Attributes:
        month: The month.
        columns: The kinds of the columns by name.
        parts: The files, in the order of their changes.
    """

    month: Month
    columns: Mapping[str, str]
    parts: tuple[Part, ...]

    @property
    def changes(self) -> int:
        """The number of changes."""
        return sum(part.rows for part in self.parts)

    @property
    def size(self) -> int:
        """The size of the files in bytes."""
        return sum(part.bytes for part in self.parts)


def part_name(number: int) -> str:
    """Return the name of a file by its number, from 0."""
    return f"part-{number:05}.parquet"


def write_manifest(location: Location, manifest: Manifest) -> None:
    """Write a manifest. From then on, the archive has the month."""
    content = {
        "format": _FORMAT,
        "month": str(manifest.month),
        "changes": manifest.changes,
        "columns": dict(manifest.columns),
        "files": [part._asdict() for part in manifest.parts],
    }
    text = json.dumps({**content, "checksum": _checksum(content)}, indent=2)
    with location.written(manifest.month, NAME) as file:
        file.write(text.encode())


def read_manifest(location: Location, month: Month) -> Manifest | None:
    """Return the manifest of a month, or None if the archive does not have the month.

    Raises:
        ArchiveError: The manifest is damaged, or written by a later version.
    """
    text = location.read(month, NAME)
    if text is None:
        return None
    try:
        content: dict[str, Any] = json.loads(text)
        if content.pop("checksum") != _checksum(content):
            raise ValueError
        if content["format"] != _FORMAT:
            raise ArchiveError(
                f"{location.shown(month, NAME)} has format {content['format']}, which a later version has "
                "written: upgrade bemi-django-wal"
            )
        manifest = Manifest(month, dict(content["columns"]), tuple(Part(**part) for part in content["files"]))
        if content["month"] != str(month) or content["changes"] != manifest.changes:
            raise ValueError
        _require_plain_names(manifest)
    # Whatever was put in the place of a manifest.
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(location, month, NAME) from None
    return manifest


def check_files(location: Location, manifest: Manifest) -> None:
    """Read the files of a month and compare their checksums.

    Raises:
        ArchiveError: One is missing or differs; the message says which, and what to do.
    """
    present = location.names(manifest.month)
    for part in manifest.parts:
        if part.name not in present:
            raise _damaged(location, manifest.month, part.name, "is missing")
        if read_checksum(location, manifest.month, part.name) != (part.bytes, part.sha256):
            raise _damaged(location, manifest.month, part.name)


def _require_plain_names(manifest: Manifest) -> None:
    """Refuse names that lead out of the folder, and columns that the log cannot have."""
    if not all(_PART.fullmatch(part.name) for part in manifest.parts):
        raise ValueError
    if not all(_COLUMN.fullmatch(name) and kind in KINDS for name, kind in manifest.columns.items()):
        raise ValueError


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(location: Location, month: Month, name: str, how: str = _CHANGED) -> ArchiveError:
    return ArchiveError(
        f"{location.shown(month, name)} {how}. Restore it from a backup; or, if the log still has the "
        f"changes of {month}, move the folder of the month away and run 'manage.py bemi archive' again"
    )
