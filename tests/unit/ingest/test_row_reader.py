"""Values that are read quickly are those that are read one by one."""

from __future__ import annotations

import random

import pytest

from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.protocol.messages import Begin, Relation
from bemi_django.ingest.queue.message import row_reader
from bemi_django.ingest.queue.message.row_reader import RowReader
from bemi_django.ingest.queue.message.row_values import values_of
from bemi_django.ingest.rows.copy_format import NULL, field, int64, jsonb
from bemi_django.ingest.stitching.stitched import ChangeHeader
from bemi_django.wire.ids import change_id

TABLES = [Relation(number, "öffentlich", f"table {number}", ()) for number in range(4)]
#: The previous key, the partition, and columns without a value.
ENDS = [
    (NULL, NULL, NULL),
    (NULL, field("täglich".encode()), NULL),
    (NULL, NULL, jsonb(b'{"after": ["\xc3\xa4"]}')),
    (field(b"old"), field(b""), NULL),
]


def row(
    table: Relation, key: bytes, context: bytes, end: tuple[bytes, bytes, bytes], lsn: int = 8
) -> Pending:
    begin = Begin(lsn, 1_000, 1)
    names = (b"source", table.schema.encode(), table.name.encode())
    fields = [
        field(change_id(lsn, 3, 5)),
        *map(field, names),
        key,
        field(b"UPDATE"),
        jsonb('{"a": "\u2028"}'.encode()),
        jsonb(b"{}"),
        jsonb(context),
        *map(int64, (-1, 2**62, 7, lsn)),
        *end,
    ]
    return Pending(b"".join(fields), ChangeHeader(begin, 3, table, context, 0), b"")


def no_outline(pending: Pending) -> tuple[bytes, RejectedMessage]:
    raise AssertionError("every value is text")


def test_rows_are_read_as_they_are_one_by_one() -> None:
    chance = random.Random(1)
    rows = [
        row(
            chance.choice(TABLES),
            chance.choice([NULL, field(b""), field(b"7"), field("ключ".encode())]),
            chance.choice([b"{}", b'{"a": 1}', b'{"a": 12}', '{"a": "ä"}'.encode()]),
            chance.choice(ENDS),
            8 * number,
        )
        for number in range(500)
    ]
    reader = RowReader(no_outline)
    for pending in rows:
        assert reader.read(pending) == (values_of(pending.row), None)


def test_a_table_that_was_renamed_has_its_new_name() -> None:
    reader = RowReader(no_outline)
    for name in ("table", "tables", "table"):
        pending = row(TABLES[0]._replace(name=name), field(b"1"), b"{}", ENDS[0])
        assert reader.read(pending)[0][3] == name


@pytest.mark.parametrize("is_known", [False, True])
def test_a_row_that_is_no_text_is_read_in_outline(is_known: bool) -> None:
    outline = row(TABLES[0], NULL, b"{}", ENDS[0]).row
    letter = RejectedMessage(8, None, b"", {}, "no text")
    reader = RowReader(lambda pending: (outline, letter))
    if is_known:
        reader.read(row(TABLES[0], field(b"1"), b"{}", ENDS[0]))
    for context in (b"{}", b'{"a": "\xff"}'):
        refused = row(TABLES[0], field(b"1" if context != b"{}" else b"\xff"), context, ENDS[0])
        assert reader.read(refused) == (values_of(outline), letter)
    # What follows it is not read with what was kept of it.
    following = row(TABLES[0], field(b"2"), b"{}", ENDS[0])
    assert reader.read(following) == (values_of(following.row), None)


def test_what_is_remembered_of_tables_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_reader, "_TABLES", 2)
    reader = RowReader(no_outline)
    for table in [*TABLES, *TABLES]:
        pending = row(table, field(b"1"), b"{}", ENDS[0])
        assert reader.read(pending) == (values_of(pending.row), None)
        assert len(reader._tables) <= 2
