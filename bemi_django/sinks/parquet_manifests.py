"""The manifests of Parquet files: each says what its file has, whose it is, and where it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from bemi_django.archive.location import Location
from bemi_django.archive.month import Month
from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.export.row_json import moment_json, position_in, position_json

_FORMAT = 1
_UNLIKE = (
    "{file} has {changes} changes, and its manifest says another number: two workers have written it. Move "
    "both away, and run with --accept-gap"
)
_BROKEN = "{file} is no whole Parquet file: move it and its manifest away, and run with --accept-gap"


class Manifests:
    """The manifests of one slot.

    Args:
        location: Where they are.
        slot: The slot whose changes the files have.
    """

    def __init__(self, location: Location, slot: str) -> None:
        self._location, self._slot = location, slot

    def of_slot(self) -> bytes:
        """Return one that only says whose the files are."""
        return json.dumps({"format": _FORMAT, "slot": self._slot}).encode()

    def of_file(self, file: str, changes: int, committed_at: int, end: int) -> bytes:
        """Return that of a file.

        Args:
            file: Its name.
            changes: The number of its changes.
            committed_at: The last commit time, in microseconds since 2000-01-01 UTC.
            end: The sequence number where it ends.
        """
        manifest = {
            "format": _FORMAT,
            "slot": self._slot,
            "file": file,
            "changes": changes,
            "committed_at": moment_json(committed_at),
            **position_json(end),
        }
        return json.dumps(manifest).encode()

    def read(self, month: Month, name: str) -> dict[str, Any]:
        """Return what is in a manifest.

        Raises:
            ReplicationError: It is none, or one of another slot.
        """
        try:
            found: dict[str, Any] = json.loads(self._location.read(month, name) or b"")
            if (found["format"], found["slot"]) == (_FORMAT, self._slot):
                return found
        except (KeyError, TypeError, ValueError, RecursionError):
            pass
        raise self.foreign(month, name)

    def position(self, month: Month, name: str, files: Iterable[str]) -> int:
        """Return the sequence number where the file of a manifest ends.

        Args:
            month: The month of both.
            name: The name of the manifest.
            files: The names of the files that are there.

        Raises:
            ReplicationError: The manifest is of another slot, or its file is not the one that it describes.
        """
        manifest = self.read(month, name)
        try:
            position = position_in(manifest)
        except ValueError:
            raise self.foreign(month, name) from None
        file = str(manifest.get("file"))
        if file in files:
            changes = self._changes(month, file)
            if changes != manifest.get("changes"):
                raise ReplicationError(
                    _UNLIKE.format(file=self._location.shown(month, file), changes=changes)
                )
        return position

    def foreign(self, month: Month, name: str) -> ReplicationError:
        """Return the error that says that a file is not of the slot."""
        return ReplicationError(
            f"{self._location.shown(month, name)} is not of the slot {self._slot}: give another address, or "
            "move the files away"
        )

    def _changes(self, month: Month, file: str) -> int:
        """Return the number of changes in a file."""
        from pyarrow import ArrowInvalid, parquet

        with self._location.opened(month, file) as opened:
            try:
                return int(parquet.read_metadata(opened).num_rows)
            except ArrowInvalid:
                raise ReplicationError(_BROKEN.format(file=self._location.shown(month, file))) from None
