"""Changes go through a queue: nothing is lost, nothing comes twice, the changes of a row stay in order."""

from __future__ import annotations

import functools
import random
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import psycopg2
import pytest

from bemi_django.exceptions import LostHistory, QueueFull, QueueUnavailable, ReplicationError
from bemi_django.ingest.dead_letter_retry import RetriedLetters, retry
from bemi_django.ingest.destination import lanes
from bemi_django.ingest.destination.histories import Histories
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.ingest.queue.consumption import Consumption
from bemi_django.ingest.queue.lane_locks import LaneLocks
from bemi_django.ingest.queue.lane_reader import LaneReader
from bemi_django.ingest.queue.message.chunk import decode
from bemi_django.ingest.queue.outbox import Outbox, PublishedBatch, Waiting
from bemi_django.ingest.queue.server import stream_config, stream_info
from bemi_django.ingest.queue.server.pull import Pull
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.queue_address import QueueAddress, parse
from tests.support.certificate import write_certificate
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.roles import OWNER
from tests.support.skewed_queue import skew_queue

#: Gives up at once.
IMPATIENT = QUICK._replace(patience=0.0)


def stream(queued: QueuedPipeline, **settings: Any) -> None:
    """Make the stream as an operator would."""

    async def make(jetstream: Any) -> None:
        from nats.js.api import DiscardPolicy, StreamConfig

        given = {"discard": DiscardPolicy.NEW, **settings}
        await jetstream.add_stream(StreamConfig(name="bemi", subjects=["bemi.>"], **given))

    queued.server.ask(make)


def test_what_is_published_is_written_to_the_log_and_forgotten(queued: QueuedPipeline) -> None:
    queued.trail.write(10)
    assert queued.publish() == 10
    assert queued.trail.logged() == []
    assert queued.consume() == 10
    queued.catch_up()
    assert queued.server.messages() == 0
    assert queued.trail.checkpoint() == queued.trail.confirmed()
    queued.trail.write(3)
    assert (queued.publish(), queued.consume()) == (3, 3)
    queued.catch_up()
    counted = "SELECT sum(changes)::bigint FROM _bemi.activity WHERE kind = 'operation' AND unit = 'day'"
    assert queued.trail.log.run(counted) == queued.trail.log.run("SELECT count(*) FROM changes")


def test_the_messages_are_as_documented(queued: QueuedPipeline) -> None:
    queued.trail.source.run("INSERT INTO load (id, n) VALUES (1, 1)")
    queued.publish()

    async def read(jetstream: Any) -> list[Any]:
        return [await jetstream.get_last_msg("bemi", f"bemi.bemi_trail.{lane}") for lane in range(3)]

    found = queued.server.ask(read)
    contents = [orjson.loads(message.data) for message in found]
    (change,) = [
        dict(zip(one["columns"], values, strict=True)) for one in contents for values in one["changes"]
    ]
    assert {name: change[name] for name in ("table", "primary_key", "operation", "before", "after")} == {
        "table": "load",
        "primary_key": "1",
        "operation": "CREATE",
        "before": "{}",
        "after": '{"n": 1, "id": 1, "filler": "row-value"}',
    }
    for lane, (message, content) in enumerate(zip(found, contents, strict=True)):
        assert (content["version"], content["source"], content["lane"]) == (1, "bemi_trail", lane)
        assert content["canonical"] is False
        assert message.headers["Bemi-End"] == "{}.{}".format(*content["end"])
        begin, end = ("{}.{}".format(*content[name]) for name in ("begin", "end"))
        assert message.headers["Nats-Msg-Id"] == f"bemi.bemi_trail.{lane}.{begin}-{end}"
        assert decode(message.data).lane == lane


def test_what_is_published_twice_is_written_once(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ids of messages are forgotten at once.
    stream(queued, duplicate_window=0.1)
    with monkeypatch.context() as patched:
        # As if the publisher were killed before it confirms.
        patched.setattr(SlotSource, "confirm", lambda source, lsn: None)
        queued.trail.write(10)
        assert queued.publish() == 10
        queued.trail.write(2)
        assert queued.publish() == 12
    messages = queued.server.messages()
    queued.trail.write(2)
    assert queued.publish() == 14
    assert queued.server.messages() > messages
    assert queued.consume() == 14
    queued.catch_up()


def test_a_change_larger_than_a_message_comes_in_parts(queued: QueuedPipeline) -> None:
    queued.trail.source.run(
        "INSERT INTO load (id, n, filler) SELECT 1, 1, 'row-value' || repeat('x', 300000)"
    )
    queued.publish()
    assert queued.consume() == 1
    assert queued.trail.log.one("SELECT length(after ->> 'filler') FROM changes") == 300_009
    queued.trail.check()


def test_a_quiet_lane_is_no_failure(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, late = Pull.run, set()

    async def first_late(pull: Pull, number: int, seconds: float) -> bool:
        if pull not in late:
            late.add(pull)
            # As if the server had not said that the time is over.
            return False
        return await run(pull, number, seconds)

    monkeypatch.setattr(Pull, "run", first_late)
    queued.trail.write(5)
    queued.publish()
    with queued.consumers():
        queued.catch_up()
    assert len(late) == 3
    assert "trying again" not in caplog.text


def test_a_large_transaction_is_published_in_chunks(queued: QueuedPipeline) -> None:
    queued.trail.source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(1, 8000) i")
    assert queued.publish() == 8000
    assert queued.consume() == 8000
    queued.trail.check()


def test_what_has_no_lane_is_between_what_is_before_and_after_it(queued: QueuedPipeline) -> None:
    source = queued.trail.source
    with queued.publisher(), queued.consumers(3):
        for n in range(10):
            insert = "INSERT INTO load (id, n) SELECT %s + i, i FROM generate_series(1, 20) i"
            source.run(insert, [n * 100])
            source.run("UPDATE load SET id = -id WHERE n = 1")
            source.run("UPDATE load SET filler = filler || id")
        until(lambda: queued.trail.log.one("SELECT count(*) FROM changes") >= 200 + sum(range(1, 11)) + 1100)
    query = """
        SELECT count(*) FROM changes moved JOIN changes other ON
            other.id < moved.id AND other.created_at > moved.created_at
            OR other.id > moved.id AND other.created_at < moved.created_at
        WHERE moved.previous_primary_key IS NOT NULL"""
    assert queued.trail.log.one(query) == 0
    queued.check_order()


def test_a_full_stream_makes_the_slot_wait(queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.publisher._LIMIT", 100_000)
    monkeypatch.setattr("bemi_django.ingest.queue.outbox._WINDOW", 300_000)
    stream(queued, max_bytes=1_000_000)
    trail, trouble = queued.trail, "SELECT trouble FROM _bemi.checkpoint"
    # Several times what the stream has room for, in one transaction.
    trail.source.run(
        "INSERT INTO load (id, n, filler) SELECT i, i, 'row-value' || repeat('x', 10000) "
        "FROM generate_series(1, 300) i"
    )
    before = trail.confirmed()
    with queued.publisher():
        until(lambda: trail.log.one(trouble))
        assert "maximum bytes exceeded" in trail.log.one(trouble)
        assert trail.confirmed() == before
        with queued.consumers():
            queued.catch_up()
            until(lambda: trail.confirmed() > before)
            until(lambda: not trail.log.one(trouble))


def test_a_change_in_parts_waits_until_all_of_them_have_room(queued: QueuedPipeline) -> None:
    stream(queued, max_bytes=200_000)
    trail, trouble = queued.trail, "SELECT trouble FROM _bemi.checkpoint"
    write = "INSERT INTO load (id, n, filler) SELECT i, i, 'row-value' || repeat('x', %s) FROM %s i"
    trail.source.run(write % (50_000, "generate_series(1, 2)"))
    queued.publish()
    trail.source.run(write % (150_000, "generate_series(3, 3)"))
    # It ends although the stream is full.
    with queued.publisher():
        until(lambda: trail.log.one(trouble))
    with queued.publisher(), queued.consumers():
        # A part that was published would take the room of the others for ever.
        queued.catch_up()
        trail.source.run(write % (300_000, "generate_series(4, 4)"))
        until(lambda: "--max-bytes=" in (trail.log.one(trouble) or ""))
        told = re.search(r"stream edit bemi --max-bytes=(\d+)", trail.log.one(trouble))
        assert told is not None
        more = int(told[1])

        async def widen(jetstream: Any) -> None:
            config = (await jetstream.stream_info("bemi")).config
            await jetstream.update_stream(config.evolve(max_bytes=more))

        queued.server.ask(widen)
        queued.catch_up()
        until(lambda: not trail.log.one(trouble))


def test_parts_of_a_publisher_that_was_killed_take_no_room(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream(queued, max_bytes=1_000_000)
    queued.publish()
    queued.trail.source.run("INSERT INTO load (id, n, filler) SELECT 1, 1, repeat('x', 600000)")
    publish, was_killed = Broker.publish, QueueUnavailable("killed")

    def publish_all_but_the_last_part(broker: Broker, messages: Any, acknowledgements: Any) -> None:
        sent = [one for one in messages if one.part.split("/")[0] != one.part.split("/")[1]]
        fail = functools.partial(acknowledgements.fail, was_killed)
        publish(broker, sent, Acknowledgements(len(sent), fail)) if sent else fail()

    with monkeypatch.context() as patched:
        patched.setattr(Broker, "publish", publish_all_but_the_last_part)
        with pytest.raises(QueueUnavailable, match="killed"):
            Supervisor(queued.config, QUICK._replace(patience=0.0)).run(until_current=True)
    queued.trail.release()
    # A consumer that has read them is not confused by those that take their place.
    with queued.consumers():
        queued.publish()
        queued.catch_up()
    until(lambda: queued.server.messages() == 0)


def test_a_server_that_goes_away_and_comes_back(queued: QueuedPipeline, nats_server: NatsServer) -> None:
    server = nats_server
    with queued.trail.load(), queued.publisher(), queued.consumers(2):
        until(lambda: queued.trail.logged())
        server.kill()
        try:
            written = queued.trail.source.one("SELECT max(n) FROM load")
            until(lambda: queued.trail.source.one("SELECT max(n) FROM load") > written + 20)
        finally:
            server.start()
        until(lambda: len(queued.trail.logged()) > written)
    with queued.publisher(), queued.consumers():
        queued.catch_up()


def test_a_destination_is_not_needed_to_publish(queued: QueuedPipeline) -> None:
    trail = queued.trail
    with queued.publisher():
        trail.write(1)
        until(lambda: trail.confirmed() > trail.checkpoint())
        trail.log.stop()
        try:
            before = queued.trail.confirmed()
            trail.write(20)
            until(lambda: trail.confirmed() > before)
        finally:
            trail.log.start()
    with queued.consumers():
        queued.catch_up()


def test_the_log_is_written_again_without_a_queue(queued: QueuedPipeline) -> None:
    queued.trail.write(5)
    queued.publish()
    with pytest.raises(ReplicationError, match="the queue has changes .* run 'manage.py bemi consume'"):
        queued.trail.run()
    queued.consume()
    queued.trail.write(5)
    assert queued.trail.run() == 5
    queued.trail.write(5)
    assert (queued.publish(), queued.consume()) == (5, 5)
    queued.catch_up()


def test_lanes_that_are_not_at_the_same_place_are_not_left(queued: QueuedPipeline) -> None:
    trail, more = queued.trail, QueuedPipeline(queued.trail, queued.server, lanes=5)
    trail.write(5)
    queued.publish()
    queued.consume()
    # As if the publisher had been killed when one of the lanes had what the others had not.
    trail.log.run("UPDATE _bemi.lanes SET sequence = sequence + 8 WHERE lane = 1")
    with pytest.raises(ReplicationError, match="the queue has changes"):
        trail.run()
    trail.write(5)
    more.publish()
    assert len(queued.lanes()) == 3
    queued.consume()
    queued.catch_up()


def test_lost_history_is_a_gap_after_what_the_queue_has(queued: QueuedPipeline) -> None:
    trail = queued.trail
    trail.write(5)
    queued.publish()
    trail.source.run("SELECT pg_drop_replication_slot('bemi_trail')")
    with pytest.raises(QueueUnavailable, match="is gone.*: waiting until consumers"):
        Supervisor(queued.config, IMPATIENT).run(until_current=True)
    queued.consume()
    with pytest.raises(LostHistory):
        queued.publish()
    trail.run(queued.config._replace(accept_gap=True))
    trail.write(5)
    queued.publish()
    assert queued.consume() == 5
    operations = [one for (one,) in trail.log.run("SELECT operation FROM changes ORDER BY id")]
    assert operations.index("GAP") == 5 and len(operations) == 11


def test_consumers_that_run_follow_the_log_into_another_history(queued: QueuedPipeline) -> None:
    trail = queued.trail
    with queued.consumers(2):
        trail.write(5)
        queued.publish()
        until(lambda: len(trail.logged()) == 5)
        trail.source.run("SELECT pg_drop_replication_slot('bemi_trail')")
        until(lambda: trail.run(queued.config._replace(accept_gap=True)) == 0)
        trail.write(5)
        queued.publish()
        until(lambda: len(trail.logged()) == 10, 20)


def test_the_number_of_lanes_changes_when_all_is_written(
    queued: QueuedPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    more = QueuedPipeline(queued.trail, queued.server, lanes=5)
    queued.trail.write(5)
    queued.publish()
    queued.trail.write(5)
    more.publish()
    assert len(queued.lanes()) == 3
    assert "bemi_trail goes on with 3 lanes, not with 5" in caplog.text
    caplog.clear()
    queued.consume()
    queued.trail.write(5)
    more.publish()
    assert len(queued.lanes()) == 5
    assert "lanes, not with" not in caplog.text
    more.consume()
    more.catch_up()


def test_a_stream_that_would_lose_changes_is_refused(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nats.js.api import DiscardPolicy

    stream(queued, discard=DiscardPolicy.OLD, max_age=3600)
    with pytest.raises(
        ReplicationError, match="would lose changes or hold them up: it needs discard new, no max_age"
    ):
        queued.publish()
    assert queued.config.queue is not None
    queued.server.delete()
    stream(queued)
    monkeypatch.setattr(stream_config, "_LOOK", 0.05)

    async def age(jetstream: Any) -> None:
        config = (await jetstream.stream_info("bemi")).config
        await jetstream.update_stream(config.evolve(max_age=3600))

    # One that runs notices it, too.
    with pytest.raises(ReplicationError, match="it needs no max_age"), queued.publisher() as running:
        queued.trail.wait_until_read()
        queued.server.ask(age)
        running.result(DEADLINE)
    misspelt = queued.config.queue._replace(stream="bemmi")
    with pytest.raises(ReplicationError, match="no stream bemmi, .* another stream has the subjects bemi.>"):
        queued.trail.run(queued.config._replace(queue=misspelt))


def test_one_replica_without_sync_is_warned_of(
    queued: QueuedPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    assert queued.config.queue is not None
    queue = queued.config.queue._replace(is_synced=False)
    queued.trail.run(queued.config._replace(queue=queue))
    assert "set it and add ?sync=always to the address" in caplog.text
    caplog.clear()
    queued.publish()
    assert "sync=always" not in caplog.text


def test_what_is_missing_in_the_queue_is_told(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.lane_reader._LOST", 0.1)
    queued.trail.write(5)
    queued.publish()

    async def purge(jetstream: Any) -> None:
        await jetstream.purge_stream("bemi")

    with queued.publisher():
        # One that begins would notice.
        queued.trail.wait_until_read()
        queued.server.ask(purge)
        queued.trail.write(5)
        # A slot that moves is no proof: it may be confirmed late for what was published before.
        until(queued.server.messages)
    with queued.consumers():
        until(lambda: queued.trail.log.one("SELECT trouble FROM _bemi.checkpoint"))
    assert "lacks changes that come next" in caplog.text
    assert queued.trail.logged() == []
    # The way out that the documentation gives.
    queued.trail.source.run("SELECT pg_drop_replication_slot('bemi_trail')")
    queued.trail.run(queued.trail.config._replace(accept_gap=True))
    queued.trail.write(5)
    assert (queued.publish(), queued.consume()) == (5, 5)
    assert len(queued.trail.gaps()) == 1


def test_what_is_missing_is_named_each_time(queued: QueuedPipeline) -> None:
    queued.publish()
    log, trouble = queued.trail.log, "SELECT trouble FROM _bemi.checkpoint"
    lane = SimpleNamespace(source=queued.trail.slot, trouble="it lacks changes", close=lambda: None)
    with closing(Consumption(queued.config, Progress(), QUICK, threading.Event())) as session:
        session._lanes.readers = {(queued.trail.slot, 0): cast(LaneReader, lane)}
        for said in ("it lacks changes", "", "it lacks others"):
            # What is written takes it away.
            log.run("UPDATE _bemi.checkpoint SET trouble = NULL")
            lane.trouble = said
            assert said in session._lanes.note_trouble()
            assert (log.one(trouble) or "") == said


@pytest.mark.parametrize(
    ("number", "hours"), [(1, 0), (6, -3)], ids=["fewer messages", "more messages, and another clock"]
)
def test_a_stream_that_is_made_again_is_read_from_its_beginning(
    queued: QueuedPipeline,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    hours: int,
) -> None:
    skew_queue(monkeypatch, hours)
    for _ in range(3):
        queued.trail.write(1)
        queued.publish()
    queued.consume()
    queued.server.delete()
    for _ in range(number):
        queued.trail.write(1)
        queued.publish()
    with queued.consumers():
        queued.catch_up()
    assert "the stream bemi is another one than before: reading lane 0 of bemi_trail" in caplog.text
    until(lambda: queued.server.messages() == 0)
    caplog.clear()
    queued.trail.write(1)
    assert (queued.publish(), queued.consume()) == (1, 1)
    assert "another one" not in caplog.text


@pytest.mark.parametrize("number", [1, 2], ids=["as many messages", "more messages"])
def test_messages_with_numbers_of_lost_ones_are_written(
    queued: QueuedPipeline, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A server whose machine has failed has no more than what was on its disk, and counts on from there."""
    monkeypatch.setattr("bemi_django.ingest.queue.lane_reader._LATE", 0.1)
    monkeypatch.setattr("bemi_django.ingest.queue.consumption._BALANCE", 0.1)
    queued.trail.write(1)
    queued.publish()
    queued.consume()
    with nats_server.set_back():
        queued.trail.write(1)
        queued.publish()
        assert queued.consume() == 1
    for _ in range(number):
        queued.trail.write(1)
        queued.publish()
    with queued.consumers():
        queued.catch_up()
        until(lambda: queued.server.messages() == 0)


def test_a_source_moves_to_a_stream_that_was_there_before(queued: QueuedPipeline) -> None:
    async def tell(jetstream: Any) -> None:
        for number in range(30):
            await jetstream.publish("bemi.other", str(number).encode())

    with closing(NatsServer()) as server:
        older = QueuedPipeline(queued.trail, server)
        stream(older)
        for _ in range(3):
            queued.trail.write(1)
            queued.publish()
        assert queued.consume() == 3
        # What the source sends has numbers that the log knows from the other stream, and others send more.
        queued.trail.write(1)
        older.publish()
        server.ask(tell)
        with older.consumers():
            older.catch_up()
        until(lambda: server.messages() == 30)


def test_lanes_become_fewer_while_they_are_taken(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ("bemi_trail", 3)
    balance, ends = LaneLocks.balance, Consumption._ends

    def balance_before(locks: LaneLocks) -> Any:
        taken, released = balance(locks)
        if taken:
            locks.held.append(gone)
            taken.append(gone)
        return taken, released

    monkeypatch.setattr(LaneLocks, "balance", balance_before)
    monkeypatch.setattr(Consumption, "_ends", lambda one: {**ends(one), gone: LanePosition(2**62)})
    queued.trail.write(5)
    queued.publish()
    assert queued.consume() == 5


def test_lost_history_is_a_gap_after_what_a_stream_that_was_made_again_has(queued: QueuedPipeline) -> None:
    trail = queued.trail
    for _ in range(3):
        trail.write(1)
        queued.publish()
    queued.consume()
    queued.server.delete()
    trail.write(1)
    queued.publish()
    trail.source.run("SELECT pg_drop_replication_slot('bemi_trail')")
    with pytest.raises(QueueUnavailable, match="is gone.*: waiting until consumers"):
        Supervisor(queued.config, IMPATIENT).run(until_current=True)
    assert queued.consume() == 1


def test_consumers_that_run_notice_that_the_stream_was_made_again(queued: QueuedPipeline) -> None:
    with queued.consumers(2):
        for _ in range(3):
            queued.trail.write(1)
            queued.publish()
        queued.catch_up()
        # Lanes without a row have messages, too, which tell how far the source was read.
        until(lambda: queued.trail.checkpoint() >= queued.trail.confirmed())
        queued.server.delete()
        queued.trail.write(1)
        queued.publish()
        queued.catch_up()


def test_what_the_destination_refuses_loses_its_values_and_nothing_else(queued: QueuedPipeline) -> None:
    trail = queued.trail
    trail.log.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "IF NEW.after ->> 'n' = '7' THEN RAISE 'refused' USING ERRCODE = '22000'; END IF; RETURN NEW; END$$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        trail.source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(1, 10) i")
        queued.publish()
        assert queued.consume() == 10
    finally:
        trail.log.run("DROP FUNCTION refuse CASCADE")
    query = "SELECT primary_key, after::text, unavailable::text FROM changes WHERE unavailable IS NOT NULL"
    assert trail.log.run(query) == [("7", "{}", '{"after": ["n", "id", "filler"]}')]
    query = (
        "SELECT change_id = (SELECT id FROM changes WHERE primary_key = '7'), reason FROM _bemi.dead_letters"
    )
    assert trail.log.run(query) == [(True, "not accepted by the destination")]
    assert trail.log.one("SELECT count(*) FROM changes") == 10
    config = queued.config._replace(
        source=trail.source.parameters_of(OWNER), destination=trail.log.parameters_of(OWNER)
    )
    # It is no message of a slot: nothing reads it again, and nothing removes it before its change.
    assert retry(config) == RetriedLetters(0, 1)
    trail.log.run("DELETE FROM changes WHERE primary_key = '7'")
    assert retry(config) == RetriedLetters(0, 0, 1)


def test_a_key_that_no_index_takes_and_a_number_that_few_readers_take_are_left_out(
    queued: QueuedPipeline,
) -> None:
    run = queued.trail.source.run
    run("CREATE TABLE public.large_key (id bytea PRIMARY KEY, n numeric)")
    run("ALTER PUBLICATION bemi ADD TABLE public.large_key")
    try:
        key = random.randbytes(2500).hex()
        run("INSERT INTO public.large_key VALUES (decode(%s, 'hex'), 1e400)", [key])
        run("INSERT INTO load (id, n) VALUES (1, 1)")
        queued.publish()
        assert queued.consume() == 2
    finally:
        run("DROP TABLE public.large_key")
    query = "SELECT primary_key, unavailable::text FROM changes WHERE \"table\" = 'large_key'"
    assert queued.trail.log.run(query) == [(None, '{"after": ["n", "id"]}')]


def test_lanes_are_not_left_while_a_message_of_theirs_is_in_the_queue(queued: QueuedPipeline) -> None:
    queued.trail.write(5)
    queued.publish()
    queued.consume()
    assert queued.config.queue is not None
    parameters = queued.trail.log.parameters
    with closing(psycopg2.connect(**parameters)) as connection, connection.cursor() as cursor:
        histories = Histories("bemi_trail").read(cursor)
        cursor.execute("SELECT lsn - '0/0' FROM _bemi.checkpoint")
        end = int(cursor.fetchone()[0])
        # Its last message may end before others that a publisher has left behind when it was killed.
        lanes.begin(cursor, "bemi_trail", 5, end, histories, is_queued=True)
        assert len(lanes.read(cursor, "bemi_trail")) == 3
        lanes.begin(cursor, "bemi_trail", 5, end, histories, is_queued=False)
        assert len(lanes.read(cursor, "bemi_trail")) == 5


def test_no_password_is_told(queued: QueuedPipeline, caplog: pytest.LogCaptureFixture) -> None:
    assert queued.config.queue is not None
    queue = queued.config.queue._replace(servers=("nats://me:secret@127.0.0.1:1",))
    with pytest.raises(QueueUnavailable, match="127.0.0.1:1: no server can be reached there") as raised:
        Consumer(queued.config._replace(queue=queue), IMPATIENT).run(until_current=True)
    assert "secret" not in str(raised.value) + caplog.text


def test_a_broker_is_closed_without_a_trace(queued: QueuedPipeline) -> None:
    import threading

    assert queued.config.queue is not None
    broker = Broker(queued.config.queue)
    assert not broker.has_messages("nobody")
    broker.close()
    broker.close()
    assert "bemi-queue" not in {thread.name for thread in threading.enumerate()}


def test_what_is_read_anew_leaves_no_subscription_and_few_messages(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many as there are for one of very many lanes.
    monkeypatch.setattr("bemi_django.ingest.queue.server.lane_messages._OF_ALL", 1)
    for _ in range(4):
        queued.trail.write(1)
        queued.publish()
    with closing(Broker(parse(queued.url))) as broker:
        reader = LaneReader(broker, "bemi_trail", 0, lanes.LaneState(LanePosition(0), 0), lambda: None)
        until(reader.read)
        subscriptions: Any = broker.connection.client._subs
        before = len(subscriptions)
        for _ in range(5):
            reader._read_after(0)
            for _ in range(4):
                until(reader.read)
                assert len(reader._messages) <= 1
        until(lambda: len(subscriptions) == before and broker.connection.lanes == 1)
        reader.close()
        # Each is closed as all that was asked for has come, while the reading waits for it.
        readers: list[LaneReader] = []
        whole = lanes.LaneState(LanePosition(0), 0)
        hasty = LaneReader(broker, "bemi_trail", 0, whole, lambda: list(map(LaneReader.close, readers)))
        readers.append(hasty)
        until(hasty.read)
        until(lambda: len(subscriptions) == before - 1 and broker.connection.lanes == 0)


_ACCOUNT = """
accounts { A: { jetstream: { max_file: 20000 }, users: [
    { user: reader, password: "secret/#?%", permissions: { publish: { deny: "bemi.>" } } },
    { user: blind, password: "secret/#?%", permissions: { publish: { deny: "$JS.API.STREAM.INFO.>" } } },
    { user: writer, password: "secret/#?%" }] } }
"""


def test_a_right_that_is_missing_and_an_account_that_is_full_are_told(
    queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued.trail.write(1)
    with closing(NatsServer(member=_ACCOUNT)) as server:

        def address_of(user: str) -> QueueAddress:
            return parse(server.url().replace("nats://", f"nats://{user}:secret%2F%23%3F%25@"))

        config = queued.config._replace(queue=address_of("reader"))
        with pytest.raises(QueueUnavailable, match=r"(?i)refuses a right: .*publish to \"bemi\.") as raised:
            Supervisor(config, IMPATIENT).run(until_current=True)
        assert "secret" not in str(raised.value)
        with closing(Broker(address_of("writer"))) as broker:
            answered = Acknowledgements(10, lambda: None)
            subject = broker.address.subject("bemi_other", 0)
            messages = [Outgoing(subject, str(n), bytes(3000), LanePosition(n)) for n in range(10)]
            broker.publish(messages, answered)
            until(lambda: answered.is_over)
            assert isinstance(answered.failure, QueueFull)
            broker.connection.run(broker.connection.jetstream.purge_stream("bemi"))
            # The limit of the account is not one of the stream: parts are removed when others are refused.
            outbox = Outbox(broker, Waiting(goes_on=lambda: False))
            parts = [one._replace(part=f"{n}/10", identifier=f"p{n}") for n, one in enumerate(messages, 1)]
            outbox.publish(parts, PublishedBatch(1, 0, None, None))
            with pytest.raises(QueueFull):
                outbox.settle()
            assert not broker.has_messages("bemi_other")
        monkeypatch.setattr(stream_info, "_SECONDS", 0.5)
        with pytest.raises(QueueUnavailable, match=r"(?i)refuses a right: .*stream\.info"):
            Broker(address_of("blind"))


def test_messages_that_may_hold_next_to_nothing_are_refused(queued: QueuedPipeline) -> None:
    queued.trail.write(1)
    refused = pytest.raises(ReplicationError, match="messages of 4096 bytes: let max_payload")
    with closing(NatsServer(payload=4096)) as server, refused:
        queued.trail.run(queued.config._replace(queue=parse(server.url())))


def test_an_address_with_tls_sends_no_password_without_it(nats_server: NatsServer) -> None:
    address = parse(f"tls://me:secret@127.0.0.1:{nats_server.port}/bemi")
    with pytest.raises(QueueUnavailable, match=r"127\.0\.0\.1:\d+ offers no TLS") as raised:
        Broker(address)
    assert "secret" not in str(raised.value)


def test_a_certificate_that_is_refused_ends_the_connection(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    with closing(NatsServer(member=tls)) as server:
        for scheme in ("tls", "nats"):
            with pytest.raises(QueueUnavailable, match="SSLCertVerificationError"):
                Broker(parse(f"{scheme}://127.0.0.1:{server.port}/bemi"))
    # A server that leaves the choice to its clients is asked for TLS.
    with closing(NatsServer(member=f"allow_non_tls: true\n{tls}")) as server:
        with pytest.raises(QueueUnavailable, match="SSLCertVerificationError"):
            Broker(parse(f"tls://127.0.0.1:{server.port}/bemi"))
        Broker(parse(server.url())).close()


def test_a_server_that_says_nothing_is_no_queue() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        closed = pool.submit(lambda: server.accept()[0].close())
        with pytest.raises(QueueUnavailable, match="does not answer as nats-server does"):
            Broker(parse(f"nats://127.0.0.1:{server.getsockname()[1]}/bemi"))
        closed.result()
