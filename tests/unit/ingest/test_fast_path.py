"""The short way of a message gives what the long way does, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Begin, Column, Message, Relation, Row
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.copy_format import field
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.rendering import unavailable_field
from bemi_django.ingest.rows.row_layout import Computed, RowLayout, head, template, with_reader
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.rows.values import encoder
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched, read_again
from bemi_django.ingest.stitching.stitcher import Stitcher
from tests.support.copied import read
from tests.support.pgoutput import change
from tests.support.stitching import feed

OID = 7
INTEGER, TEXT, BOOLEAN, JSON, NUMERIC, TIMESTAMPTZ, DATE, GONE = 23, 25, 16, 3802, 1700, 1184, 1082, 99_999
BEGIN = Begin(0x1_0000_0008, 1234, 1)
FULL = b"O"


def table(*types: int) -> Relation:
    columns = [Column(f"c%{number}", type_, True) for number, type_ in enumerate(types)]
    return Relation(OID, "public", "t", tuple(columns))


def layout(relation: Relation, *key: int) -> RowLayout:
    names = tuple(column.name for column in relation.columns)
    encoders = tuple(encoder(column.type_oid, {}, lambda type_, value: value) for column in relation.columns)
    made = RowLayout(head("db", "public", "t"), names, template(names), encoders, key)
    return with_reader(made._replace(named_by=frozenset({OID})))


def hiding(known: RowLayout, hidden: list[int]) -> RowLayout:
    """Return a layout that keeps nothing of some columns but whether they were changed."""
    encoders = tuple(None if number in hidden else one for number, one in enumerate(known.encoders))
    kept = template(None if number in hidden else name for number, name in enumerate(known.names))
    masked = tuple(known.names[number] for number in hidden)
    return with_reader(
        known._replace(
            encoders=encoders,
            template=kept,
            unavailable=unavailable_field((), (), masked=masked),
            masked=masked,
            unseen=tuple(hidden),
            reader=None,
        )
    )


@dataclass
class Ways:
    """Both, for the rows of a transaction of one table, which the writer knows already."""

    relation: Relation
    layout: RowLayout
    context: bytes = b'{"user": 7}'

    def __post_init__(self) -> None:
        self.decoder = Decoder()
        self.decoder.know(self.relation)
        self.writer = RowWriter(ChangeIds("1", "db", 5 << 32), self.layouts)
        self.stitcher = Stitcher(self.writer.named_by)
        self.writer.known[OID] = self.relation, self.layout
        self.fast_path = FastPath(self.decoder, self.stitcher, self.writer)
        feed(self.stitcher, BEGIN)
        feed(self.stitcher, Message(0, b"_bemi", self.context))

    def layouts(self, change: ChangeHeader | Stitched) -> Iterator[RowLayout]:
        yield self.layout

    def short(self, data: bytes, lsn: int = 8) -> bytes | None:
        taken = self.fast_path.take(data, lsn)
        if taken is None:
            return None
        row, place = taken
        # What is kept of it, for a row that the destination refuses.
        assert same(self.writer.row(read_again(place, data)), row)
        return row

    def long(self, data: bytes, lsn: int = 8) -> bytes | None:
        """None for what is refused."""
        try:
            message = self.decoder.decode(data)
            assert message is not None
            (stitched,) = feed(self.stitcher, message, lsn)
            return self.writer.row(stitched)
        except (ProtocolError, ValueError, LookupError):
            return None


def same(one: bytes, other: bytes) -> bool:
    left, right = read(one), read(other)
    del left["queued_at"], right["queued_at"]
    return left == right


ROW: Row = [b"1", b"two", None]
OLD: Row = [b"1", b"one", b"x"]
TABLE = table(INTEGER, TEXT, TEXT)

USUAL = {
    "insert": change(b"I", OID, (b"N", ROW)),
    "update": change(b"U", OID, (FULL, OLD), (b"N", ROW)),
    "update of the key": change(b"U", OID, (FULL, [b"0", None, None]), (b"N", ROW)),
    "delete": change(b"D", OID, (FULL, OLD)),
    "null as a key": change(b"I", OID, (b"N", [None, None, None])),
}


@pytest.mark.parametrize("data", USUAL.values(), ids=USUAL)
def test_a_usual_row_goes_the_short_way(data: bytes) -> None:
    short, long = (Ways(TABLE, layout(TABLE, 0)) for _ in range(2))
    for _ in range(2):
        row, expected = short.short(data), long.long(data)
        assert row is not None and expected is not None
        assert same(row, expected)


def test_a_table_may_have_no_key_or_no_columns_and_be_a_partition() -> None:
    for relation, row in ((TABLE, ROW), (table(), [])):
        ways = Ways(relation, layout(relation)._replace(partition=field(b"public.t_1")))
        data = change(b"I", OID, (b"N", row))
        found = ways.short(data)
        assert found is not None
        fields = read(found)
        assert (fields["primary_key"], fields["partition"]) == (None, b"public.t_1")


UNUSUAL = {
    "not sent": change(b"I", OID, (b"N", [b"1", UNAVAILABLE, None])),
    "not sent again": change(b"U", OID, (FULL, OLD), (b"N", [b"1", UNAVAILABLE, None])),
    "no old row": change(b"U", OID, (b"N", ROW)),
    "an old key": change(b"U", OID, (b"K", [b"0", None, None]), (b"N", ROW)),
    "delete by key": change(b"D", OID, (b"K", [b"1", None, None])),
    "another number of columns": change(b"I", OID, (b"N", [b"1", b"2"])),
    "no text": change(b"I", OID, (b"N", [b"1", b"\xff", None])),
    "more than a row": USUAL["insert"] + b"x",
    "cut short": USUAL["delete"][:-1],
    "cut to nothing": b"I",
    "a kind that there is not": USUAL["insert"].replace(b"t", b"?", 1),
    "another table": change(b"I", OID + 1, (b"N", ROW)),
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
def test_what_needs_care_does_not_go_the_short_way(data: bytes) -> None:
    ways = Ways(TABLE, layout(TABLE, 0))
    assert ways.short(data) is None
    assert sum(ways.fast_path.counts.values()) == 1
    # It did not take the place of the next row.
    following = ways.short(USUAL["insert"])
    assert following is not None and same(
        following, Ways(TABLE, layout(TABLE, 0)).short(USUAL["insert"]) or b""
    )


COMPUTED = Computed(1, lambda row: [b"1"])


@pytest.mark.parametrize(
    "unusual",
    [
        pytest.param(layout(TABLE, 0, 1), id="a key of two columns"),
        pytest.param(with_reader(layout(TABLE, 0)._replace(computed=COMPUTED, reader=None)), id="computed"),
        pytest.param(layout(table(INTEGER, TEXT, GONE), 0), id="a type that is gone"),
        pytest.param(layout(TABLE, 0)._replace(since=9), id="since later"),
        pytest.param(layout(TABLE, 0)._replace(until=8), id="until earlier"),
    ],
)
def test_a_table_that_needs_care_does_not_go_the_short_way(unusual: RowLayout) -> None:
    assert Ways(TABLE, unusual).short(change(b"I", OID, (b"N", [b"1", b"two", b"three"]))) is None


def test_rows_that_are_only_counted_do_not_go_the_short_way() -> None:
    assert Ways(TABLE, layout(TABLE, 0), b'{"_bemi_skip": true}').short(USUAL["insert"]) is None


def test_a_row_outside_a_transaction_does_not_go_the_short_way() -> None:
    ways = Ways(TABLE, layout(TABLE, 0))
    ways.stitcher.begin = None
    assert ways.short(USUAL["insert"]) is None


def test_a_table_that_was_described_again_or_is_not_known_does_not_go_the_short_way() -> None:
    ways = Ways(TABLE, layout(TABLE, 0))
    ways.decoder.know(table(INTEGER, TEXT, TEXT))
    assert ways.short(USUAL["insert"]) is None
    ways.writer.forget()
    assert ways.short(USUAL["insert"]) is ways.short(USUAL["insert"]) is None
    assert ways.fast_path.counts == {
        "rows the long way (altered table)": 1,
        "rows the long way (first of a table)": 2,
    }


VALUES = {
    INTEGER: st.integers().map(lambda value: str(value).encode()),
    TEXT: st.text().map(str.encode),
    BOOLEAN: st.sampled_from([b"t", b"f"]),
    JSON: st.sampled_from([b"{}", b'{"a": [1, null]}', b'"\\u00e9"']),
    NUMERIC: st.decimals(allow_nan=True).map(lambda value: str(value).encode()),
    TIMESTAMPTZ: st.sampled_from([b"2026-01-01 10:00:00+00", b"infinity", b"0044-03-15 12:00:00+00 BC"]),
    DATE: st.dates().map(lambda value: value.isoformat().encode()),
}
types = st.lists(st.sampled_from(list(VALUES)), max_size=5)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Relation, RowLayout, list[bytes]]:
    """A table, and messages of its rows: whole ones, some in a way that they should not be."""
    relation = table(*draw(types))
    key = draw(st.sampled_from([(), (0,), (1, 0)])) if len(relation.columns) > 1 else ()
    unusual = st.none() | st.binary(max_size=5) | st.just(UNAVAILABLE)

    def row() -> Row:
        return [
            draw(VALUES[column.type_oid] if draw(st.integers(0, 9)) else unusual)
            for column in relation.columns
        ]

    messages = []
    for kind in draw(st.lists(st.sampled_from(["I", "U", "D"]), min_size=1, max_size=4)):
        old = draw(st.sampled_from([FULL, FULL, b"K"])), row()
        rows = {"I": [(b"N", row())], "U": [old, (b"N", row())], "D": [old]}[kind]
        data = change(kind.encode(), OID, *rows)
        if not draw(st.integers(0, 4)):
            at = draw(st.integers(5, len(data)))
            data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 2)) :]
        messages.append(data)
    # A key is hashed at most.
    may_be_hidden = [number for number in range(len(relation.columns)) if number not in key]
    hidden = draw(st.lists(st.sampled_from(may_be_hidden), unique=True)) if may_be_hidden else []
    return relation, hiding(layout(relation, *key), sorted(hidden)), messages


@given(streams())
def test_both_ways_write_the_same_or_the_short_one_nothing(
    stream: tuple[Relation, RowLayout, list[bytes]],
) -> None:
    relation, known, messages = stream
    for data in messages:
        short, long = Ways(relation, known).short(data), Ways(relation, known).long(data)
        assert short is None or long is not None and same(short, long)


def context(content: bytes, prefix: bytes = b"_bemi", length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return b"M\1" + bytes(8) + prefix + b"\0" + size.to_bytes(4, "big") + content


@given(
    st.lists(
        st.sampled_from(
            [
                b'7{"a": 1,"SQL": "x"}',
                b'7+"y"}',
                b'7{"_bemi_skip": true}',
                b"7",
                b"8",
                b"no JSON",
                b"\xff",
                b"{}",
            ]
        )
    )
)
def test_a_context_is_followed_as_the_stitcher_is_fed_it(contents: list[bytes]) -> None:
    short, long = (Ways(TABLE, layout(TABLE, 0)) for _ in range(2))
    for content in contents:
        data = context(content)
        assert short.fast_path.follow(data)
        message = long.decoder.decode(data)
        assert message is not None
        feed(long.stitcher, message)
        assert short.stitcher.is_context_invalid == long.stitcher.is_context_invalid
        assert short.stitcher.is_skipping == long.stitcher.is_skipping
        # A row tells under which context it stands.
        assert short.stitcher.claim(TABLE, 8, {OID}).context == long.stitcher.claim(TABLE, 8, {OID}).context


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(context(b"{}", b"_bemi_ddl"), id="another message of ours"),
        pytest.param(context(b"{}", b"other"), id="another one's"),
        pytest.param(context(b"{}", length=3), id="cut short"),
        pytest.param(context(b"{}")[:18], id="cut in the length"),
        pytest.param(b"M", id="cut to nothing"),
    ],
)
def test_what_is_no_context_or_not_a_whole_one_is_not_followed(data: bytes) -> None:
    ways = Ways(TABLE, layout(TABLE, 0))
    assert not ways.fast_path.follow(data)
    assert ways.stitcher.claim(TABLE, 8, {OID}).context == ways.context


def test_a_statement_that_waits_for_a_row_is_put_together_before_it() -> None:
    ways = Ways(TABLE, layout(TABLE, 0))
    for content in (b'%d{"a": "%b","SQL": "x"}' % (OID, b"x" * 70_000), b'%d+"y"}' % OID):
        assert ways.fast_path.follow(context(content))
    row = ways.short(change(b"I", OID, (b"N", [b"1", b"x", b""])))
    assert row is not None and (read(row)["context"] or b"").endswith(b'"SQL": "y"}')


def test_a_value_of_any_length_goes_the_short_way() -> None:
    ways = Ways(TABLE, layout(TABLE, 0))
    for length in (0, 1, 255, 256, 70_000):
        data = change(b"I", OID, (b"N", [b"1", b"x" * length, b""]))
        row, expected = ways.short(data), Ways(TABLE, layout(TABLE, 0)).long(data)
        assert row is not None and expected is not None
        assert read(row)["after"] == read(expected)["after"]
