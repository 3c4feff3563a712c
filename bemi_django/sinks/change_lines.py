"""Changes as lines of JSON, and a line where each transaction ends."""

from __future__ import annotations

from typing import Any

import orjson

from bemi_django.ingest.export.row_json import moment_json, position_in, position_json
from bemi_django.ingest.export.target import ExportPart

VERSION = 1
#: How the last line of a transaction begins; no change does.
END = b'{"end":'


def beginning(part: ExportPart) -> bytes:
    """Return the line that a writer begins with, which does not know what was written before."""
    return orjson.dumps({"begin": position_json(part.sequence)}) + b"\n"


class ChangeLines:
    """Writes parts as lines; a transaction may have several."""

    def __init__(self) -> None:
        self._changes = 0

    def lines(self, part: ExportPart) -> bytes:
        """Return the lines of a part."""
        lines = [*part.rows]
        self._changes += len(part.rows)
        if part.end is not None:
            lines.append(orjson.dumps({"end": self._end(part, part.end)}))
            self._changes = 0
        return b"\n".join(lines) + b"\n"

    def _end(self, part: ExportPart, end: int) -> dict[str, Any]:
        return {
            **position_json(end),
            "transaction_id": part.transaction,
            "committed_at": moment_json(part.committed_at),
            "changes": self._changes,
        }


def end_of(line: bytes) -> int:
    """Return the sequence number that the last line of a transaction holds.

    Raises:
        ValueError: It is none.
    """
    try:
        return position_in(orjson.loads(line)["end"])
    except (KeyError, TypeError) as error:
        raise ValueError from error


def header(slot: str) -> bytes:
    """Return the first line of a file: the version of the format, and the slot whose changes it has."""
    return orjson.dumps({"bemi": VERSION, "slot": slot}) + b"\n"
