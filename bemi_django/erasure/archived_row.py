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
from bemi_django.erasure.target import Target
from bemi_django.ingest.destination.sealing import SEALED_COLUMNS
from bemi_django.log.identity import KeySpan
from bemi_django.log.lossless_json import loads
from bemi_django.seals.records import BinaryRow

_STORED = StoredChange._fields
#: What has values of a row.
_OPERATIONS = (b"CREATE", b"UPDATE", b"DELETE", b"BASELINE", b"EVENT")


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
        if place != target.place or self["operation"] not in _OPERATIONS:
            return False
        if b'"erased"' in (self["unavailable"] or b"") and "erased" in loads(self["unavailable"].decode()):
            return False
        return any(map(self._is_in, target.spans)) or any(map(self._has, target.values))

    def _is_in(self, span: KeySpan) -> bool:
        if self.text("primary_key") != span.key:
            return False
        change_id = UUID(self["id"].decode())
        if span.start is not None and (change_id <= span.start if span.is_open else change_id < span.start):
            return False
        return (span.end is None or change_id < span.end) and change_id not in span.others

    def _has(self, values: Mapping[str, Any]) -> bool:
        for side in ("before", "after"):
            row = loads(self[side].decode())
            if all(column in row and row[column] == value for column, value in values.items()):
                return True
        return False


def rows_of_part(location: Location, manifest: Manifest, part: Part) -> Iterator[ArchivedChange]:
    """Yield the changes of a file."""
    decoders = decoders_of(manifest.columns)
    for row in read_rows(location, manifest.month, part.name, manifest.columns):
        yield ArchivedChange(manifest.columns, values_of(row, decoders))
