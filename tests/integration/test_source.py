"""The stream on a real slot: what is read, and when reading on could confirm it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from bemi_django.exceptions import Disrupted
from bemi_django.ingest.stream.connections import connect_stream
from bemi_django.ingest.stream.source import Source
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until


@pytest.fixture
def source(trail: LoadPipeline) -> Iterator[Source]:
    with closing(connect_stream(trail.config, "UTF8", silence=1.0)) as source:
        source.start(trail.slot, "bemi", trail.checkpoint())
        yield source


def read(source: Source) -> bytes:
    """The kind of the next message."""
    return until(source.read)[:1]


def test_reading_on_could_confirm_only_where_a_message_has_no_position(
    trail: LoadPipeline, source: Source
) -> None:
    assert source.may_confirm_unasked
    trail.source.run("INSERT INTO load (id, n) VALUES (1, 1), (2, 2)")
    seen: list[tuple[bytes, bool]] = []
    while seen[-1:] != [(b"C", False)]:
        seen.append((read(source), source.may_confirm_unasked))
    assert seen == [
        (b"B", False),
        # The context.
        (b"M", False),
        (b"R", True),
        (b"I", False),
        (b"I", False),
        (b"C", False),
    ]


def test_what_was_read_is_confirmed_when_it_is_and_not_before(trail: LoadPipeline, source: Source) -> None:
    before = trail.checkpoint()
    trail.source.run("INSERT INTO load (id, n) VALUES (1, 1)")
    while read(source) != b"C":
        pass
    end = source.position
    # The server goes on, says so, and is answered.
    position = trail.source.one("SELECT pg_current_wal_lsn() - '0/0' FROM (SELECT txid_current()) later")
    trail.source.run("INSERT INTO junk VALUES ('x')")
    until(lambda: source.read() is None and source.position > position)
    assert before == trail.confirmed() < end
    source.confirm(end)
    until(lambda: trail.confirmed() == end)


def test_a_slot_that_is_dropped_meanwhile_is_looked_at_again(trail: LoadPipeline) -> None:
    with closing(connect_stream(trail.config, "UTF8", silence=1.0)) as source, pytest.raises(Disrupted):
        source.start("bemi_unmade", "bemi", 0)
