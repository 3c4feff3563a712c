"""A row of the log as JSON: nothing of a value is changed, and it is one line."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from bemi_django.ingest.export.row_json import moment_json, row_json
from bemi_django.ingest.rows.copy_format import NULL, field, int64, jsonb
from bemi_django.ingest.rows.row_writer import COLUMNS

ID = UUID("0193a1b2-c3d4-8000-8000-0000c0000001")
#: 2026-11-29 04:32:20.000007 UTC.
MOMENT = 849_155_540_000_007


def row(**given: bytes) -> bytes:
    """Return a row of COPY with NULL in all columns but these."""
    fields = [field(ID.bytes), *(given.get(name, NULL) for name in COLUMNS[1:])]
    return b"".join(fields)


def test_every_kind_of_value_is_there() -> None:
    line = row_json(
        row(
            table=field(b'a "table"\n'),
            after=jsonb(b'{"n":12345678901234567890.10,\n "s":"\\n"}'),
            committed_at=int64(MOMENT),
            position=int64((1 << 62) + 1),
        )
    )
    assert b"\n" not in line
    # A parser that makes floats of numbers would not see the difference.
    assert b"12345678901234567890.10" in line
    found = json.loads(line)
    assert list(found) == list(COLUMNS)
    expected = {
        "id": str(ID),
        "table": 'a "table"\n',
        "committed_at": "2026-11-28T04:32:20.000007Z",
        "position": (1 << 62) + 1,
    }
    assert {name: value for name, value in found.items() if value is not None and name != "after"} == expected
    assert found["after"]["s"] == "\n"


@pytest.mark.parametrize("given", [{"schema": field(b"\xff")}, {"after": jsonb(b'{"a":"\xff"}')}])
def test_what_is_not_text_is_refused(given: dict[str, bytes]) -> None:
    with pytest.raises(UnicodeDecodeError):
        row_json(row(**given))


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "2000-01-01T00:00:00.000000Z"), (-63_082_281_600_000_000, "0001-01-01T00:00:00.000000Z")],
)
def test_a_moment_has_always_six_digits(microseconds: int, text: str) -> None:
    assert moment_json(microseconds) == text
