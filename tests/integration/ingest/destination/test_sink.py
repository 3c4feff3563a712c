"""Batches are written while others are gathered; what becomes durable when is as if they were not."""

from __future__ import annotations

import functools
import select
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import psycopg2.errors
import pytest

from bemi_django import conf
from bemi_django.exceptions import ReplicationError, Superseded
from bemi_django.ingest.destination import sink as sink_module
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.checkpoint import Checkpoints, Origin
from bemi_django.ingest.destination.copying import copy_rows
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.destination.partitions import make_partition, moment_of
from bemi_django.ingest.destination.sink import PostgresSink
from bemi_django.ingest.protocol.messages import Begin, Relation
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.row_layout import RowLayout, head, template
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import Stitched
from bemi_django.ingest.stream.connections import connect_destination
from bemi_django.wire.ids import source_of
from tests.support.pipeline import worker_config
from tests.support.polling import DEADLINE
from tests.support.project_database import execute

SLOT = "bemi_sink"
LAYOUT = RowLayout(head("db", "public", "t"), ("a",), template(("a",)), (values.text,), (0,))
WRITER = RowWriter(ChangeIds("1", "db", 0), lambda change: iter([LAYOUT]))
TABLE = Relation(1, "public", "t", ())
NOVEMBER = 815_000_000 * 1_000_000


def pending(lsn: int, value: bytes, ordinal: int = 0) -> Pending:
    change = Stitched(Begin(lsn, NOVEMBER, 1), ordinal, TABLE, "CREATE", None, [value], b"{}")
    return Pending(WRITER.row(change), change, b"")


def fill(sink: PostgresSink, lsn: int, value: bytes) -> None:
    """A transaction, which is sent."""
    sink.add(pending(lsn, value))
    sink.end(lsn + 8, NOVEMBER)
    sink.send()


@contextmanager
def locked_log() -> Iterator[None]:
    """Nobody writes to the log meanwhile."""
    with closing(psycopg2.connect(**conf.connection_parameters("default"))) as blocker:
        blocker.cursor().execute("LOCK TABLE changes IN EXCLUSIVE MODE")
        yield


def refuse(cursor: Any, pending: Pending) -> Any:
    raise AssertionError("no row is to be repaired")


@pytest.fixture
def destination(transactional_db: None) -> Iterator[Any]:
    with closing(connect_destination(worker_config(SLOT))) as connection:
        checkpoints = Checkpoints(connection, SLOT)
        with connection, connection.cursor() as cursor:
            make_partition(cursor, moment_of(NOVEMBER))
            checkpoints.start(cursor, 8, 1, Origin("1", 1, 1))
        yield connection
        connection.rollback()
        # The worker deletes none.
        execute("DELETE FROM _bemi.checkpoint WHERE slot = %s", [SLOT])


@pytest.fixture
def sink(destination: Any) -> Iterator[PostgresSink]:
    with closing(PostgresSink(destination, SLOT, 8, refuse, limit=1000)) as made:
        yield made


def logged(observer: Any) -> list[str]:
    observer.execute("SELECT after ->> 'a' FROM changes ORDER BY id")
    return [value for (value,) in observer.fetchall()]


def test_the_next_batch_is_gathered_while_one_waits_for_the_destination(
    sink: PostgresSink, observer: Any
) -> None:
    with locked_log():
        fill(sink, 16, b"first")
        sink.add(pending(32, b"second"))
        sink.end(40, NOVEMBER)
        assert sink.in_flight == 1 and sink.has_pending
        assert not select.select([sink], [], [], 0)[0]
        assert (sink.checkpoint, sink.written) == (8, 0)
    assert select.select([sink], [], [], DEADLINE)[0]
    assert logged(observer) == ["first"]
    sink.settle()
    assert (sink.checkpoint, sink.written, sink.in_flight) == (24, 1, 0)
    sink.send()
    sink.settle()
    assert (sink.checkpoint, sink.written) == (40, 2)
    assert logged(observer) == ["first", "second"]


def test_a_batch_waits_for_the_one_that_is_written_and_follows_it(sink: PostgresSink, observer: Any) -> None:
    with locked_log():
        fill(sink, 16, b"first")
        fill(sink, 32, b"second")
        assert (sink.in_flight, sink.checkpoint) == (2, 8)
    sink.settle(1)
    assert (sink.in_flight, sink.checkpoint, sink.written) == (1, 24, 1)
    sink.settle()
    assert (sink.in_flight, sink.checkpoint, sink.written) == (0, 40, 2)
    assert logged(observer) == ["first", "second"]


def test_what_is_held_of_messages_counts(sink: PostgresSink) -> None:
    # Of a column that is not stored.
    sink.add(pending(16, b"x")._replace(message=bytes(1000)))
    assert sink.in_flight == 1


def test_no_more_than_two_batches_are_held_in_memory(sink: PostgresSink) -> None:
    for number in range(1, 20):
        fill(sink, 16 * number, b"x")
        assert sink.in_flight <= 2
    # What the third one and those after it have waited for.
    assert sink.checkpoint >= 16 * 17 + 8


def test_what_is_behind_a_row_that_is_refused_is_written_after_its_repair(
    destination: Any, observer: Any
) -> None:
    seen: list[list[str]] = []

    def repair(cursor: Any, refused: Pending) -> RejectedMessage:
        seen.append(logged(observer))
        copy_rows(cursor, [pending(16, b"mended").row])
        return RejectedMessage(16, None, b"", {}, "")

    with closing(PostgresSink(destination, SLOT, 8, repair, limit=1000)) as sink:
        with locked_log():
            fill(sink, 16, b"\0")
            fill(sink, 32, b"second")
        sink.settle(1)
        # Those behind it did not run, and the next one must not run before them.
        assert (sink.in_flight, sink.checkpoint) == (0, 40)
        assert seen == [[]]
        fill(sink, 48, b"third")
        sink.settle()
    assert (sink.checkpoint, sink.written) == (56, 3)
    assert logged(observer) == ["mended", "second", "third"]


def test_nothing_of_a_large_transaction_is_to_be_seen_before_all_of_it(
    sink: PostgresSink, observer: Any
) -> None:
    sink.add(pending(16, b"small"))
    sink.end(24, NOVEMBER)
    for number in range(50):
        sink.add(pending(32, b"%d" % number * 100, number))
    sink.settle()
    # What came before it is durable by now.
    assert logged(observer) == ["small"]
    assert (sink.checkpoint, sink.written) == (24, 1)
    sink.end(40, NOVEMBER)
    sink.send()
    sink.settle()
    assert len(logged(observer)) == 51
    assert (sink.checkpoint, sink.written) == (40, 51)


def test_a_transaction_that_waits_for_its_rest_is_not_ended_by_the_destination(
    destination: Any, sink: PostgresSink, observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each query begins the server's idle_in_transaction_session_timeout anew."""
    given: list[int] = []

    def touch() -> None:
        given.append(destination.info.transaction_status)
        give_sign()

    give_sign = sink._writer.touch
    monkeypatch.setattr(sink._writer, "touch", touch)
    sink.keep_alive()
    assert given == [], "nothing waits"
    for number in range(50):
        sink.add(pending(32, b"%d" % number * 100, number))
    sink.settle()
    monkeypatch.setattr(sink_module, "_TOUCH", 0.0)
    for _ in range(2):
        sink.keep_alive()
    monkeypatch.setattr(sink_module, "_TOUCH", float("inf"))
    for _ in range(3):
        sink.keep_alive()
    assert len(given) == 3, "at each call, then once until the pause is over"
    assert set(given) == {psycopg2.extensions.TRANSACTION_STATUS_INTRANS}
    sink.end(40, NOVEMBER)
    sink.send()
    sink.settle()
    assert (sink.checkpoint, len(logged(observer))) == (40, 50)


def test_a_batch_that_fails_is_told_of_when_it_is_settled(sink: PostgresSink, observer: Any) -> None:
    observer.execute("UPDATE _bemi.checkpoint SET lsn = '0/9' WHERE slot = %s", [SLOT])
    fill(sink, 16, b"late")
    with pytest.raises(Superseded):
        sink.settle()
    assert sink.checkpoint == 8
    assert logged(observer) == []


def test_what_is_behind_a_batch_that_fails_is_not_written(sink: PostgresSink, observer: Any) -> None:
    with locked_log():
        observer.execute("UPDATE _bemi.checkpoint SET lsn = '0/9' WHERE slot = %s", [SLOT])
        fill(sink, 16, b"first")
        fill(sink, 32, b"second")
    with pytest.raises(Superseded):
        sink.settle()
    assert sink.in_flight == 0
    # Nothing is left to be mended.
    sink.settle()
    assert (sink.checkpoint, sink.written) == (8, 0)
    assert logged(observer) == []


def test_sources_with_the_same_number_in_their_ids_have_no_log_together(destination: Any) -> None:
    one, other = "shop_9725", "shop_24680"
    assert source_of("1", one) == source_of("1", other)
    with destination.cursor() as cursor:
        Checkpoints(destination, SLOT).start(cursor, 8, 1, Origin("2", 1, 1), one)
        begin = functools.partial(Checkpoints(destination, "bemi_other").start, cursor, 8, 1)
        # An export of the same database, and two servers.
        for server, database in (("2", one), ("1", one), ("1", other)):
            begin(Origin(server, 1, 1), database)
        refused = functools.partial(pytest.raises, ReplicationError)
        # The slot follows its database to another server, and has changes of both.
        with refused(match="changes of .* by the slot bemi_other"):
            Histories(SLOT).begin(cursor, "1", 1, 8, "restored")
        begin(Origin("1", 1, 1), one)
        with refused(match=f"changes of {one} by the slot {SLOT}"):
            begin(Origin("1", 1, 1), other)
        # Behind a queue, the name comes with the first changes.
        behind = Checkpoints(destination, "bemi_behind")
        behind.start(cursor, 8, 1, Origin("1", 1, 1))
        with refused(match="same number of the source"):
            behind.name(cursor, other)
    destination.rollback()
