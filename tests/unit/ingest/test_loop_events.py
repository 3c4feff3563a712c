"""Events take their place among transactions, and nothing about one of them stops the worker."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import pytest

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.destination.repair import Repairer
from bemi_django.ingest.loop.intake.intake import Intake
from bemi_django.ingest.loop.transaction import Transactions
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.copy_format import ID_AT
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.event_message import EventReader
from bemi_django.masking.rules import DEFAULT, Rules
from bemi_django.wire.ids import change_id, source_of
from tests.support import pgoutput
from tests.unit.ingest.test_intake import MemorySink, Nothing, begin, commit

CONTENT = b'{"event": "e"}'


class Stream:
    """An intake, and what it has given to its sink."""

    def __init__(self) -> None:
        sink: Any = MemorySink()
        self.sink = sink
        writer = RowWriter(ChangeIds("1", "db", 5 << 32), lambda change: iter(()))
        nothing: Any = Nothing()
        self.transactions = Transactions(nothing, writer, sink, nothing, nothing, lambda: True)
        self.intake = Intake(writer, sink, Repairer(writer, "db"), self.transactions, Counter())

    def take(self, data: bytes) -> None:
        self.intake.take(data, 0)

    def ids(self) -> list[bytes]:
        return [pending.row[ID_AT] for pending in self.sink.rows]


def event(lsn: int, content: bytes = CONTENT, *, transactional: bool = False) -> bytes:
    head = b"M" + struct.pack(">BQ", transactional, lsn)
    return head + pgoutput.text("_bemi_event") + struct.pack(">I", len(content)) + content


def identifier(lsn: int, ordinal: int = 0) -> bytes:
    return change_id(lsn, ordinal, source_of("1", "db"))


def test_alone_it_has_its_own_position_and_a_checkpoint_after_it() -> None:
    stream = Stream()
    stream.take(event(800))
    stream.take(begin(1600))
    stream.take(event(1504, transactional=True))
    stream.take(event(1552, transactional=True))
    stream.take(commit(1700))
    stream.take(event(1704))
    assert stream.ids() == [identifier(800), identifier(1600), identifier(1600, 1), identifier(1704)]
    assert stream.sink.ends == [808, 1700, 1712]


def test_what_the_log_has_is_not_written_again() -> None:
    stream = Stream()
    stream.sink.checkpoint = 808
    stream.take(event(800))
    stream.take(event(800, b"invalid"))
    stream.take(event(808))
    assert stream.ids() == [identifier(808)] and stream.sink.letters == []


def test_its_time_lies_between_the_commit_before_and_the_present() -> None:
    stream = Stream()
    stream.take(begin(8, committed_at=1_000_000))
    stream.take(commit(16))
    for number, stated in enumerate((5, 2_000_000, 1_500_000)):
        stream.take(event(800 + 8 * number, str(stated).encode() + CONTENT))
    assert [pending.change.begin.committed_at for pending in stream.sink.rows] == [
        1_000_000,
        2_000_000,
        2_000_000,
    ]


def test_one_of_a_transaction_that_could_not_be_read_becomes_a_dead_letter() -> None:
    stream = Stream()
    stream.take(event(800, transactional=True))
    assert stream.sink.rows == [] and len(stream.sink.letters) == 1
    stream.take(begin(1 << 60))
    stream.take(event(1504, transactional=True))
    assert stream.sink.rows == [] and len(stream.sink.letters) >= 2


def test_a_position_that_cannot_be_is_kept_as_a_letter() -> None:
    stream = Stream()
    stream.take(event(1 << 60))
    (letter,) = stream.sink.letters
    assert stream.sink.rows == [] and "position" in letter.reason


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), ProtocolError("x")])
def test_one_that_makes_the_reader_fail_is_kept_without_its_content(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream()

    def broken(self: object, content: bytes) -> None:
        raise error

    monkeypatch.setattr(EventReader, "read", broken)
    stream.take(event(800))
    (letter,) = stream.sink.letters
    assert stream.sink.rows == [] and letter.message == b""


@pytest.mark.parametrize(("rules", "kept"), [(Rules(has_defaults=False), True), (DEFAULT, False)])
def test_a_row_that_the_log_refuses_keeps_its_table_only(rules: Rules, kept: bool) -> None:
    stream = Stream()
    stream.take(event(800))
    (pending,) = stream.sink.rows
    writer = RowWriter(ChangeIds("1", "db", 5 << 32), lambda change: iter(()))
    letter = Repairer(writer, "db", masking=rules).letter(pending.change, pending.message, "refused")
    assert letter.change_id is None and bool(letter.message) is kept
