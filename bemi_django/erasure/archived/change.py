"""A change in a file of an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from bemi_django.archive.location import Location
from bemi_django.archive.manifest import Manifest
from bemi_django.archive.part import Part, read_rows
from bemi_django.archive.row_format import decoders_of, row_of, values_of
from bemi_django.erasure.rewriting import StoredChange
from bemi_django.erasure.targets.sides import holding_sides, sides_of
from bemi_django.erasure.targets.target import HAVING_VALUES, SIDES, Target
from bemi_django.ingest.destination.sealing import SEALED_COLUMNS
from bemi_django.log.conditions import ERASED_SIDES
from bemi_django.log.lossless_json import loads
from bemi_django.seals.records import BinaryRow

_STORED = StoredChange._fields


class ArchivedChange:
    """A change as the archive has it.

    Args:
        columns: The kinds of the columns by name.
        values: Their values; text is UTF-8.
    """

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: Mapping[str, str], values: list[Any]) -> None:
        self._columns = columns
        self._values = dict(zip(columns, values, strict=True))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def text(self, name: str) -> str | None:
        """Return a column of text."""
        value = self._values[name]
        return None if value is None else value.decode()

    @property
    def stored(self) -> StoredChange:
        """What an erasure may change of it."""
        return StoredChange(*(self.text(name) for name in _STORED))  # type: ignore[arg-type]

    @property
    def context(self) -> dict[str, Any]:
        """Its context; nothing if it cannot be read."""
        try:
            found = loads(self["context"].decode())
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def transaction(self) -> tuple[bytes, int, int]:
        """The database, the id and the time of its transaction."""
        return self["database"], self["transaction_id"], self["committed_at"]

    def replaced(self, change: StoredChange) -> ArchivedChange:
        """Return it with what is left of it."""
        texts = {name: None if text is None else text.encode() for name, text in change._asdict().items()}
        return ArchivedChange(self._columns, list({**self._values, **texts}.values()))

    def as_copy(self) -> bytes:
        """Return it in the binary format of COPY."""
        return row_of(list(self._values.values()), self._columns)

    @property
    def sealed(self) -> BinaryRow:
        """What is sealed of it."""
        return [
            None
            if self._values[name] is None
            # After the number of fields and the length of the only one.
            else row_of([self._values[name]], {name: self._columns[name]})[6:]
            for name in SEALED_COLUMNS
        ]

    def is_of(self, target: Target) -> bool:
        """Return whether its values are to be erased, and are not yet."""
        place = tuple(self.text(name) for name in ("database", "schema", "table"))
        if (
            place != target.place
            or self.text("operation") not in HAVING_VALUES
            or not self._may_be_of(target)
        ):
            return False
        if b'"erased"' not in (self["unavailable"] or b""):
            return True
        unavailable = loads(self["unavailable"].decode())
        erased = unavailable.get(ERASED_SIDES, () if "erased" not in unavailable else SIDES)
        return not self.sides(target).issubset(erased)

    def sides(self, target: Target) -> frozenset[str]:
        """Return the sides of it that are about a target that it is of."""
        return sides_of(target, self._id, self.text("primary_key"), self._images)

    @property
    def _id(self) -> UUID:
        return UUID(self["id"].decode())

    @property
    def _images(self) -> dict[str, Any]:
        return {side: loads(self[side].decode()) for side in SIDES}

    def _may_be_of(self, target: Target) -> bool:
        if target.is_in_span(self._id, self.text("primary_key")) or target.halves_of(self._id):
            return True
        refers = target.values or target.during
        return bool(refers) and bool(holding_sides(target, self._id, self._images))


def rows_of_part(location: Location, manifest: Manifest, part: Part) -> Iterator[ArchivedChange]:
    """Yield the changes of a file."""
    decoders = decoders_of(manifest.columns)
    for row in read_rows(location, manifest.month, part.name, manifest.columns):
        yield ArchivedChange(manifest.columns, values_of(row, decoders))
