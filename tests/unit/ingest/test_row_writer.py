"""Rows in the binary format of COPY, read back by the reader of this module."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bemi_django.ingest.protocol.messages import UNAVAILABLE, Begin, Relation, Row
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.copy_format import field
from bemi_django.ingest.rows.rendering import Lost
from bemi_django.ingest.rows.row_layout import Computed, RowLayout, head, template
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched
from bemi_django.wire.ids import change_id, first_id, sequence_in, source_in
from tests.support.copied import read

TABLE = Relation(1, "public", "t", ())
NAMES = ("a", "b", "c")
XID = 5 << 32
EPOCH_2000 = 946_684_800


def layout(*key: int) -> RowLayout:
    return RowLayout(head("db", "public", "t"), NAMES, template(NAMES), (values.text,) * 3, key)


def writer(*key: int, xid: int = XID) -> RowWriter:
    return RowWriter(ChangeIds("7000000000000000000", "db", xid), lambda change: iter([layout(*key)]))


def stitched(
    before: Row | None = None,
    after: Row | None = None,
    *,
    xid: int = 1,
    table: Relation = TABLE,
    lsn: int = 0,
) -> Stitched:
    return Stitched(Begin(0x1_0000_0008, 1234, xid), 3, table, "UPDATE", before, after, b'{"user": 7}', lsn)


def number(field: bytes | None) -> int:
    assert field is not None and len(field) == 8
    return int(struct.unpack(">q", field)[0])


def test_a_change_is_one_row_of_copy() -> None:
    started = time.time()
    fields = read(writer(0).row(stitched([b"1", None, b'x"'], [b"1", b"y", None])))
    queued = number(fields.pop("queued_at")) / 1e6 + EPOCH_2000
    # To the microsecond, which PostgreSQL counts in.
    assert started - 1e-5 <= queued <= time.time()
    assert number(fields.pop("committed_at")) == 1234
    assert number(fields.pop("position")) == 0x1_0000_0008
    assert number(fields.pop("transaction_id")) == XID + 1
    identifier = fields.pop("id")
    assert identifier is not None and UUID(bytes=identifier).version == 8
    assert fields == {
        "database": b"db",
        "schema": b"public",
        "table": b"t",
        "primary_key": b"1",
        "operation": b"UPDATE",
        "before": b'\x01{"a": "1", "b": null, "c": "x\\""}',
        "after": b'\x01{"a": "1", "b": "y", "c": null}',
        "context": b'\x01{"user": 7}',
        "previous_primary_key": None,
        "partition": None,
        "unavailable": None,
    }


@pytest.mark.parametrize(
    ("key", "row", "primary_key"),
    [
        pytest.param((), [b"1", b"2", b"3"], None, id="no key"),
        pytest.param((1,), [b"1", b"2", b"3"], b"2", id="one column"),
        pytest.param((1,), [b"1", b"", b"3"], b"", id="empty text"),
        pytest.param((1,), [b"1", None, b"3"], None, id="null"),
        pytest.param((1,), [b"1", UNAVAILABLE, b"3"], None, id="not sent"),
        pytest.param((2, 0), [b'"1', b"2", b"3"], b'["3", "\\"1"]', id="two columns"),
        pytest.param((2, 0), [b"1", b"2", UNAVAILABLE], None, id="one of two not sent"),
    ],
)
def test_the_key_is_text_or_a_json_array(key: tuple[int, ...], row: Row, primary_key: bytes | None) -> None:
    assert read(writer(*key).row(stitched(after=row)))["primary_key"] == primary_key


def test_a_key_that_changes_is_kept_beside_the_new_one() -> None:
    old: Row = [b"old", None, None]
    new: Row = [b"new", None, None]
    for before, after, expected in (
        (old, new, (b"new", b"old")),
        (new, new, (b"new", None)),
        (None, new, (b"new", None)),
        (old, None, (b"old", None)),
        (None, None, (None, None)),
    ):
        fields = read(writer(0).row(stitched(before, after)))
        assert (fields["primary_key"], fields["previous_primary_key"]) == expected


def test_a_row_that_is_not_there_is_empty_and_a_value_that_is_not_known_is_named() -> None:
    fields = read(writer(0).row(stitched(None, [b"1", UNAVAILABLE, None])))
    assert fields["before"] == b"\x01{}"
    assert fields["after"] == b'\x01{"a": "1", "c": null}'
    assert fields["unavailable"] == b'\x01{"after": ["b"]}'


def test_values_that_are_lost_are_named_and_are_no_key() -> None:
    change = stitched([b"1", b"2", b"3"], [b"1", b"2", b"3"])
    fields = read(writer(0).row(change, Lost(frozenset({1}), frozenset({0, 2}))))
    assert fields["before"] == b'\x01{"a": "1", "c": "3"}'
    assert fields["after"] == b'\x01{"b": "2"}'
    assert fields["unavailable"] == b'\x01{"after": ["a", "c"], "before": ["b"]}'
    assert (fields["primary_key"], fields["previous_primary_key"]) == (None, b"1")


def test_what_cannot_be_written_is_found_and_said() -> None:
    rows = writer(0)
    change = stitched([b"1", b"\xff", UNAVAILABLE], [b"no", None, b'"\xff'])
    lost, reasons = rows.salvage(change, lambda json: json != b'"no"')
    assert lost == Lost(frozenset({1}), frozenset({0, 2}))
    assert reasons == [
        "before.b: UnicodeDecodeError",
        "after.a: not accepted as jsonb",
        "after.c: UnicodeDecodeError",
    ]


def test_the_partition_is_noted() -> None:
    rows = RowWriter(
        ChangeIds("1", "db", 0), lambda change: iter([layout()._replace(partition=field(b"public.t_1"))])
    )
    assert read(rows.row(stitched()))["partition"] == b"public.t_1"


def computing(compute: Callable[[Row], Row]) -> RowWriter:
    names = (*NAMES, "sum", "product")
    computed = layout(3)._replace(
        names=names,
        template=template(names),
        encoders=(values.text,) * 3 + (values.number,) * 2,
        computed=Computed(2, compute),
    )
    return RowWriter(ChangeIds("1", "db", 0), lambda change: iter([computed]))


def test_columns_that_were_left_out_are_computed_from_the_others() -> None:
    asked = []

    def compute(row: Row) -> Row:
        asked.append(row)
        return [b"3", b"2"]

    fields = read(computing(compute).row(stitched(None, [b"1", b"2", None])))
    assert asked == [[b"1", b"2", None]]
    assert fields["after"] == b'\x01{"a": "1", "b": "2", "c": null, "sum": 3, "product": 2}'
    assert (fields["primary_key"], fields["unavailable"]) == (b"3", None)


@pytest.mark.parametrize("value", [b"1", UNAVAILABLE], ids=["uncomputable", "incomplete"])
def test_columns_that_cannot_be_computed_are_named(value: bytes) -> None:
    def refuse(row: Row) -> Row:
        raise ValueError

    fields = read(computing(refuse).row(stitched(None, [b"1", b"2", value])))
    missing = (["c"] if value is UNAVAILABLE else []) + ["sum", "product"]
    assert json.loads((fields["unavailable"] or b"")[1:]) == {"after": missing}
    assert fields["primary_key"] is None


class Asked:
    """Tells layouts one after another, and keeps what it was asked for."""

    def __init__(self, *layouts: RowLayout) -> None:
        self.layouts = layouts
        self.lsns: list[int] = []

    def __call__(self, change: ChangeHeader | Stitched) -> Iterator[RowLayout]:
        self.lsns.append(change.lsn)
        return iter(self.layouts)

    def writer(self) -> RowWriter:
        return RowWriter(ChangeIds("1", "db", 0), self)


def test_after_ddl_the_layout_is_asked_again() -> None:
    asked = Asked(layout())
    rows = asked.writer()
    for lsn in (8, 16):
        rows.row(stitched(lsn=lsn))
        rows.row(stitched(lsn=lsn + 1))
        rows.forget()
    assert asked.lsns == [8, 16]


def test_a_row_from_before_or_after_ddl_that_was_noticed_asks_again() -> None:
    asked = Asked(layout()._replace(since=10, until=20))
    rows = asked.writer()
    for lsn in (10, 19, 20, 15, 9):
        rows.row(stitched(lsn=lsn))
    assert asked.lsns == [10, 20, 9]


def test_a_row_whose_place_is_not_known_counts_as_written_at_its_commit() -> None:
    asked = Asked(layout()._replace(since=0x1_0000_0008, until=0x1_0000_0009))
    rows = asked.writer()
    for _ in range(2):
        rows.row(stitched())
    assert asked.lsns == [0]


def refuse(value: bytes) -> bytes:
    raise ValueError(value)


def test_a_row_that_refutes_a_layout_is_written_by_the_next_one_and_those_after_it_too() -> None:
    wrong = layout(0)._replace(encoders=(refuse,) * 3)
    asked = Asked(wrong, wrong, layout(1))
    rows = asked.writer()
    change = stitched(after=[b"1", b"2", None])
    with pytest.raises(ValueError, match="1"):
        rows.row(change)
    assert read(rows.row_of_another_layout(change))["primary_key"] == b"2"
    assert read(rows.row(change))["primary_key"] == b"2"
    assert len(asked.lsns) == 2


def test_a_row_that_refutes_all_that_is_known_is_refused() -> None:
    change = stitched(after=[b"1", b"2", None])
    with pytest.raises(ValueError, match="1"):
        Asked(layout(0)._replace(encoders=(refuse,) * 3)).writer().row_of_another_layout(change)
    with pytest.raises(LookupError, match="nothing is known"):
        Asked().writer().row_of_another_layout(change)


def test_a_row_of_another_width_than_its_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="another number of columns"):
        writer(0).row(stitched(after=[b"1"]))


def test_the_layout_is_asked_once_for_each_description_of_a_relation() -> None:
    asked = Asked(layout())
    rows = asked.writer()
    again = Relation(*TABLE)
    for lsn, table in enumerate((TABLE, TABLE, again, again), 1):
        rows.row(stitched(table=table, lsn=lsn))
    assert asked.lsns == [1, 3]


@pytest.mark.parametrize(
    ("known", "sent", "full"),
    [
        pytest.param(5, 7, 7, id="ahead"),
        pytest.param(XID + 7, 5, XID + 5, id="behind"),
        pytest.param(XID - 1, 3, XID + 3, id="ahead, over the border"),
        pytest.param(XID + 3, 0xFFFFFFFF, XID - 1, id="behind, over the border"),
    ],
)
def test_the_transaction_id_has_64_bits(known: int, sent: int, full: int) -> None:
    fields = read(writer(xid=known).row(stitched(xid=sent)))
    assert number(fields["transaction_id"]) == full


def test_a_transaction_id_grows_beyond_what_was_known_at_the_start() -> None:
    rows = writer(xid=0)
    steps = [number(read(rows.row(stitched(xid=xid)))["transaction_id"]) for xid in (2**31 - 1, 2**32 - 2, 5)]
    assert steps == [2**31 - 1, 2**32 - 2, 2**32 + 5]


lsns = st.sampled_from([0, 8, 1 << 15, 1 << 62]) | st.integers(0, 2**60 - 1).map(lambda value: value << 3)
places = st.tuples(lsns, st.integers(0, 3) | st.integers(0, 2**32 - 1), st.integers(0, 2**30 - 1))


@given(places, places)
@example((8, 0, 2**30 - 1), (8, 1, 0))
@example((8, 2**32 - 1, 2**30 - 1), (16, 0, 0))
def test_ids_are_of_version_8_unique_and_sort_in_commit_order(
    one: tuple[int, int, int], two: tuple[int, int, int]
) -> None:
    first, second = change_id(*one), change_id(*two)
    assert (first < second, first == second) == (one < two, one == two)
    made = UUID(bytes=first)
    assert (made.version, made.variant) == (8, "specified in RFC 4122")
    assert (sequence_in(first), source_in(first)) == (one[0], one[2])
    assert first_id(first) == change_id(one[0], 0, one[2])


def test_the_id_depends_on_the_source_and_on_nothing_else_that_may_differ() -> None:
    change = stitched(after=[b"1", None, None])
    here, again, elsewhere = (
        read(RowWriter(ChangeIds(system, "db", xid), lambda change: iter([layout(0)])).row(change))["id"]
        for system, xid in (("1", 0), ("1", XID), ("2", 0))
    )
    assert here == again != elsewhere


def test_the_names_of_the_table_are_utf_8() -> None:
    nameless = RowLayout(head("dé", "s", "t😀"), (), template(()), (), ())
    rows = RowWriter(ChangeIds("1", "db", 0), lambda change: iter([nameless]))
    fields = read(rows.row(stitched()))
    assert (fields["database"], fields["table"]) == ("dé".encode(), "t😀".encode())
    assert json.loads((fields["after"] or b"")[1:]) == {}


@pytest.mark.parametrize("notes", [True, False])
def test_masked_columns_are_noted_where_the_log_is_in_the_source(notes: bool) -> None:
    table = layout(0)._replace(masked=("b",), root=("public", "t"))
    rows = RowWriter(ChangeIds("1", "db", 0), lambda change: iter([table]))
    rows.notes_masks = notes
    rows.row(stitched(after=[b"1", b"2", b"3"]))
    assert list(rows.omissions.columns) == [("public", "t", ("b",))] * notes
