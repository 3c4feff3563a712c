"""The stream on a real slot: what is read, and what is confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import psycopg2.errors
import pytest

from bemi_django.exceptions import Disrupted
from bemi_django.ingest.stream.connections import connect_stream
from bemi_django.ingest.stream.source import SlotSource
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until


@pytest.fixture
def source(trail: LoadPipeline) -> Iterator[SlotSource]:
    # After half of it, the server asks who is silent.
    with closing(connect_stream(trail.config, "UTF8", silence=3.0)) as source:
        source.start(trail.slot, "bemi", trail.checkpoint())
        yield source


def next_message(source: SlotSource) -> bytes | None:
    return next(source.messages(), None)


def read(source: SlotSource) -> bytes:
    """The kind of the next message."""
    return until(lambda: next_message(source))[:1]


def test_messages_come_with_their_positions_but_for_the_description_of_a_table(
    trail: LoadPipeline, source: SlotSource
) -> None:
    trail.source.run("INSERT INTO load (id, n) VALUES (1, 1), (2, 2)")
    seen: list[tuple[bytes, bool]] = []
    while seen[-1:] != [(b"C", True)]:
        seen.append((read(source), source.message_lsn > 0))
    # The message of kind M is the context.
    kinds = [(b"B", True), (b"M", True), (b"R", False), (b"I", True), (b"I", True), (b"C", True)]
    assert seen == kinds
    assert source.position == source.message_lsn


def test_what_was_read_is_confirmed_when_it_is_and_not_before(
    trail: LoadPipeline, source: SlotSource
) -> None:
    before = trail.checkpoint()
    trail.source.run("INSERT INTO load (id, n) VALUES (1, 1)")
    while read(source) != b"C":
        pass
    end = source.position
    # The server goes on, says so, and is answered.
    position = trail.source.one("SELECT pg_current_wal_lsn() - '0/0' FROM (SELECT txid_current()) later")
    trail.source.run("INSERT INTO junk VALUES ('x')")
    until(lambda: next_message(source) is None and source.position > position)
    assert before == trail.confirmed() < end
    source.confirm(end)
    until(lambda: trail.confirmed() == end)


def test_an_error_of_the_server_is_the_one_that_psycopg2_would_raise(
    trail: LoadPipeline, source: SlotSource
) -> None:
    trail.source.run("SELECT pg_terminate_backend(%s)", [source.process])
    with pytest.raises(psycopg2.errors.AdminShutdown, match="terminating connection") as raised:
        until(lambda: next_message(source))
    assert raised.value.pgcode == "57P01"
    with pytest.raises(psycopg2.OperationalError):
        until(lambda: next_message(source))


def test_a_connection_that_libpq_has_closed_is_an_error_of_the_connection(source: SlotSource) -> None:
    """The worker looks so at what is readable while it waits for what it has sent to the log before."""

    class Closed:
        """The server has gone, and psycopg2 has not noticed."""

        def fileno(self) -> int:
            return -1

    with pytest.raises(psycopg2.OperationalError, match="is broken"):
        source.wait(0, Closed())


def test_a_stream_that_was_not_started_says_so(trail: LoadPipeline) -> None:
    stream = connect_stream(trail.config, "UTF8", silence=1.0)
    with closing(stream) as source, pytest.raises(psycopg2.InterfaceError):
        next_message(source)


def test_a_slot_that_is_dropped_meanwhile_is_looked_at_again(trail: LoadPipeline) -> None:
    with closing(connect_stream(trail.config, "UTF8", silence=1.0)) as source, pytest.raises(Disrupted):
        source.start("bemi_unmade", "bemi", 0)
