"""Whatever one message makes any part of the worker raise, the worker goes on and records what is known."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.exceptions import Disrupted, NotInstalled, ProtocolError
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.loop.intake.intake import Intake
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.protocol import oversize
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Column, Relation, Row, Update
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_layout import RowLayout, head, template, with_reader
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.rows.values import Castable, encoder
from bemi_django.ingest.stitching.stitched import ChangeHeader, Stitched
from tests.support import pgoutput
from tests.support.copied import read
from tests.support.hostile import hostile_context

CAST = 50_004
TABLES = [
    Relation(oid, "public", f"t{oid}", tuple(Column(f"c{n}", type_, True) for n, type_ in enumerate(types)))
    for oid, types in ((7, (23, 25)), (8, (CAST, 114, 1700)), (9, ()))
]
OIDS = {table.oid for table in TABLES}


def sql_error(state: str) -> psycopg2.Error:
    error: psycopg2.Error = psycopg2.errors.lookup(state)("the server says so")
    error.__setstate__({"pgcode": state, "pgerror": ""})
    return error


#: What one message may make any code raise.
OF_A_MESSAGE: list[Exception] = [
    AttributeError(),
    KeyError("x"),
    MemoryError(),
    OverflowError(),
    ProtocolError(),
    RecursionError(),
    TypeError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    ValueError("x\0y"),
    ZeroDivisionError(),
    struct.error(),
    sql_error("22P02"),
    sql_error("54000"),
    sql_error("XX000"),
]
#: What ends the session.
OF_THE_SERVER: list[Exception] = [
    psycopg2.OperationalError("server closed the connection unexpectedly"),
    psycopg2.InterfaceError("connection already closed"),
    sql_error("42501"),
    sql_error("42883"),
    sql_error("53100"),
    sql_error("57P01"),
    NotInstalled(),
    Disrupted(),
]


class MemorySink:
    """Keeps what a sink would write."""

    def __init__(self) -> None:
        self.rows: list[Pending] = []
        self.letters: list[RejectedMessage] = []
        self.ends: list[int] = []
        self.checkpoint = 0
        self.is_full = False

    def add(self, pending: Pending) -> None:
        self.rows.append(pending)

    def add_letter(self, letter: RejectedMessage) -> None:
        self.letters.append(letter)

    def end(self, lsn: int, *_: object) -> None:
        self.ends.append(lsn)

    def settle(self) -> None:
        pass


class Nothing:
    """A part of the worker that has nothing to do."""

    def covers(self, moment: int) -> bool:
        return True

    def note_ddl(self, xid: int, lsn: int) -> None:
        pass

    @property
    def transactions(self) -> Nothing:
        return self

    def has_described(self, xid: int) -> bool:
        return True


class Taken:
    """An intake with what it has given to its sink; ``raised`` is what each part raises for a row, if any."""

    def __init__(self) -> None:
        self.sink = MemorySink()
        sink: Any = self.sink
        self.raised: Exception | None = None
        self.writer = RowWriter(ChangeIds("1", "db", 5 << 32), self.layouts)
        nothing: Any = Nothing()
        self.transactions = Transactions(nothing, self.writer, sink, nothing, nothing, lambda: True)
        self.intake = Intake(self.writer, sink, Repairer(self.writer, "db"), self.transactions, Counter())
        self.take(begin(8))
        for table in TABLES:
            self.take(pgoutput.relation(table, "public"))

    def take(self, data: bytes) -> None:
        self.intake.take(data, 8)

    def layouts(self, change: ChangeHeader | Stitched) -> Iterator[RowLayout]:
        columns = change.relation.columns
        names = tuple(column.name for column in columns)
        types = {CAST: Castable(CAST, 1)}
        encoders = tuple(encoder(column.type_oid, types, self.cast) for column in columns)
        key = tuple(range(min(len(columns), change.relation.oid % 3)))
        yield with_reader(RowLayout(head("db", "public", "t"), names, template(names), encoders, key))

    def cast(self, type_: Castable, value: bytes) -> bytes:
        if self.raised is not None:
            raise self.raised
        return b"{}"


def begin(lsn: int, committed_at: int = 0) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, committed_at, 1)


def commit(end: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, 8, end, 1)


def insert(oid: int, row: Row) -> bytes:
    return pgoutput.change(b"I", oid, (b"N", row))


def known_of(row: bytes) -> dict[str, bytes | None]:
    fields = read(row)
    return {name: fields[name] for name in ("table", "operation", "after", "unavailable")}


@pytest.mark.parametrize("error", OF_A_MESSAGE, ids=lambda error: type(error).__name__)
def test_a_row_that_any_part_refuses_is_known_to_have_been(error: Exception) -> None:
    taken = Taken()
    # By the fast path, and by the long one before it.
    for number in range(2):
        taken.raised = error if number else None
        taken.take(insert(8, [b"x", b"{}", b"1"]))
    taken.raised = None
    taken.take(insert(8, [b"x", b"{}", b"1"]))
    first, second, third = (known_of(pending.row) for pending in taken.sink.rows)
    assert first == third and first["unavailable"] is None
    assert second["operation"] == b"CREATE"
    assert b'"c0"' in (second["unavailable"] or b"")
    (letter,) = taken.sink.letters
    assert letter.change_id is not None and letter.message == insert(8, [b"x", b"{}", b"1"])
    assert "\0" not in letter.reason


@pytest.mark.parametrize("error", OF_THE_SERVER, ids=lambda error: f"{type(error).__name__}")
def test_an_error_of_a_server_is_not_blamed_on_the_row(error: Exception) -> None:
    taken = Taken()
    taken.raised = error
    with pytest.raises(type(error)):
        taken.take(insert(8, [b"x", b"{}", b"1"]))
    assert (taken.sink.rows, taken.sink.letters) == ([], [])


@pytest.mark.parametrize("part", ["decode", "feed", "row"])
@pytest.mark.parametrize("error", OF_A_MESSAGE, ids=lambda error: type(error).__name__)
def test_a_future_bug_anywhere_costs_one_row(
    part: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken()

    def fail(*_: object) -> None:
        raise error

    owners = {"decode": taken.intake._decoder, "feed": taken.intake._stitcher, "row": taken.writer}
    with monkeypatch.context() as patched:
        patched.setattr(owners[part], part, fail)
        taken.take(insert(7, [b"1", b"a"]))
    taken.take(insert(7, [b"2", b"b"]))
    taken.take(commit(16))
    assert taken.sink.ends == [16]
    assert len(taken.sink.rows) == 2
    if part in ("decode", "feed"):
        assert known_of(taken.sink.rows[0].row)["after"] == b"\1{}"
    assert len(taken.sink.letters) <= 1


def test_a_commit_whose_counts_cannot_be_told_ends_its_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken()
    feed = taken.intake._stitcher.feed

    def fail(*arguments: Any) -> Any:
        feed(*arguments)
        raise RecursionError

    monkeypatch.setattr(taken.intake._stitcher, "feed", fail)
    taken.take(commit(16))
    assert taken.sink.ends == [16] and taken.transactions.current is None
    assert len(taken.sink.letters) == 1


def test_a_context_that_cannot_be_read_is_not_replaced_by_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = Taken()
    taken.take(pgoutput.message("_bemi", b'{"user_id": 7}'))
    taken.take(insert(7, [b"1", b"a"]))

    def fail(data: bytes) -> None:
        raise RecursionError

    with monkeypatch.context() as patched:
        patched.setattr(taken.intake._fast_path, "follow", fail)
        taken.take(pgoutput.message("_bemi", b'{"user_id": 8}'))
    taken.take(insert(7, [b"2", b"b"]))
    contexts = [read(pending.row)["context"] for pending in taken.sink.rows]
    assert contexts == [b'\1{"user_id": 7}', b'\1{"_bemi_invalid": ""}']
    (letter,) = taken.sink.letters
    assert b'{"user_id": 8}' in letter.message


@pytest.mark.parametrize("bad", [begin(1 << 63), begin(8, 1 << 62), begin(8, -(1 << 63))])
def test_rows_of_a_transaction_that_cannot_be_are_not_given_to_the_one_before(bad: bytes) -> None:
    taken = Taken()
    taken.take(bad)
    taken.take(insert(7, [b"1", b"a"]))
    taken.take(commit(16))
    assert taken.sink.rows == [] and len(taken.sink.letters) == 2
    taken.take(begin(24))
    taken.take(insert(7, [b"2", b"b"]))
    assert len(taken.sink.rows) == 1


contexts = st.integers(0, 2**32).map(lambda seed: hostile_context(Random(seed)))
values = st.none() | st.just(UNAVAILABLE) | st.binary(max_size=12) | st.sampled_from(
    [b"[" * 2_000, b"7" * 5_000, b'{"a": [1]}', b"\xff", b"1e400"]
)  # fmt: skip
changes = st.builds(
    lambda kind, oid, pairs: pgoutput.change(kind, oid, *pairs),
    st.sampled_from([b"I", b"U", b"D"]),
    st.sampled_from([*OIDS, 10]),
    st.lists(
        st.tuples(st.sampled_from([b"N", b"O", b"K", b"?"]), st.lists(values, max_size=4)),
        min_size=1,
        max_size=2,
    ),
)
sent = st.one_of(
    st.builds(begin, st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1)),
    st.just(commit(16)),
    st.sampled_from(TABLES).map(lambda table: pgoutput.relation(table, "public")),
    (contexts | st.binary()).map(lambda content: pgoutput.message("_bemi", content)),
    st.sampled_from(["_bemi_ddl", "_bemi_mark", ""]).map(lambda prefix: pgoutput.message(prefix, b"x")),
    changes,
    st.just(b"T" + struct.pack(">IBII", 2, 1, 7, 8)),
    st.binary(max_size=30),
)
damaged = st.builds(
    lambda data, at, more: data[:at] + more + data[at + 1 :], sent, st.integers(0, 60), st.binary(max_size=3)
)
errors = st.none() | st.sampled_from(OF_A_MESSAGE)


@given(st.lists(st.tuples(sent | damaged, errors), max_size=12), st.booleans())
def test_no_message_stops_the_worker(
    messages: list[tuple[bytes, Exception | None]], is_oversize: bool
) -> None:
    taken = Taken()
    with pytest.MonkeyPatch.context() as patched:
        if is_oversize:
            patched.setattr("bemi_django.ingest.loop.intake.intake.OVERSIZE", 0)
        for data, raised in messages:
            taken.raised = raised
            before = len(taken.sink.rows) + len(taken.sink.letters)
            is_row = data[:1] in (b"I", b"U", b"D") and taken.transactions.current is not None
            is_skipping = taken.intake._stitcher.is_skipping
            taken.take(data)
            if is_row and not is_skipping:
                # None is lost without a word.
                assert len(taken.sink.rows) + len(taken.sink.letters) > before
        taken.raised = None
        taken.take(begin(64))
        taken.take(pgoutput.relation(TABLES[0], "public"))
        taken.take(insert(7, [b"1", b"after all"]))
        taken.take(commit(72))
    assert sum(b"after all" in pending.row for pending in taken.sink.rows) == 1
    assert taken.sink.ends[-1] == 72
    for pending in taken.sink.rows:
        read(pending.row)


@given(
    st.lists(st.none() | st.binary(max_size=40), min_size=2, max_size=2),
    st.lists(st.none() | st.just(UNAVAILABLE) | st.binary(max_size=40), min_size=2, max_size=2),
    st.integers(4, 100),
)
def test_of_an_oversize_row_the_largest_values_are_left_out(old: Row, new: Row, limit: int) -> None:
    data = pgoutput.change(b"U", 7, (b"O", old), (b"N", new))
    message, reasons = oversize.read_oversize(data, {7: TABLES[0]}.get, limit)
    assert isinstance(message, Update)
    lost = 0
    expected = [
        was if value is UNAVAILABLE else value for was, value in zip(message.before, new, strict=True)
    ]
    for sent_row, kept in ((old, message.before), (expected, message.after)):
        for value, found in zip(sent_row, kept, strict=True):
            assert found == value or found is UNAVAILABLE
            lost += found is UNAVAILABLE and value is not UNAVAILABLE
    assert lost == len(reasons)
    sizes = [len(value) for value in message.before if value is not None and value is not UNAVAILABLE]
    # The names of the columns have two bytes each.
    assert sum(sizes) + 4 <= limit
    if not reasons:
        decoder = Decoder()
        decoder.know(TABLES[0])
        assert decoder.decode(data) == message
