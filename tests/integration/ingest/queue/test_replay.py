"""What a queue has kept is written to a new destination, which goes on with the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.exceptions import QueueUnavailable, ReplicationError
from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.ingest.queue import broker
from bemi_django.ingest.queue.consumer import Consumer
from bemi_django.ingest.queue.consumption import Consumption
from bemi_django.ingest.queue.copied_rows import leave_out_known
from bemi_django.ingest.queue.message.row_values import (
    DATABASE,
    KEY,
    OLD_KEY,
    OPERATION,
    POSITION,
    SCHEMA,
    TABLE,
)
from bemi_django.ingest.queue.sources.refused_sources import RefusedSources
from bemi_django.ingest.queue.sources.replay import Replay, Replayed
from bemi_django.ingest.rows.row_writer import COLUMNS
from bemi_django.wire.lane import LanePosition
from bemi_django.wire.queue_address import parse
from bemi_django.wire.sequence import sequence_of
from bemi_django.wire.slot_name import sink_of_queue
from tests.support.cluster import Cluster
from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.roles import OWNER, WORKER, address
from tests.support.skewed_queue import skew_queue

_CHANGES = """
SELECT id, database, schema, "table", primary_key, operation, before, after, context, committed_at, queued_at,
    transaction_id, position
FROM changes ORDER BY id
"""


_GRANTED = "SELECT ON _bemi.baselines, _bemi.baseline_rows"
_EMPTY = """
TRUNCATE changes, _bemi.dead_letters, _bemi.checkpoint, _bemi.histories, _bemi.lanes, _bemi.activity
"""


@pytest.fixture
def keeping(trail: LoadPipeline, nats_server: NatsServer) -> Iterator[QueuedPipeline]:
    """A queue that keeps what was written."""
    yield QueuedPipeline(trail, nats_server, keep="1h")
    nats_server.delete()


@pytest.fixture
def destination(source_cluster: Cluster) -> Iterator[Cluster]:
    """A database without a log: that of the source, in which tests before this one may have begun one."""
    source_cluster.run(_EMPTY)
    yield source_cluster
    source_cluster.run(_EMPTY)


def write(queued: QueuedPipeline, number: int = 10) -> list[Any]:
    """Write rows and record them; return their changes."""
    queued.trail.write(number)
    queued.publish()
    assert queued.consume() == number
    return queued.trail.log.run(_CHANGES)[-number:]


def replay(queued: QueuedPipeline, destination: Cluster, replayed: Replayed | None = None) -> int:
    config = queued.config._replace(destination=destination.parameters_of(WORKER))
    return Consumer(config, QUICK._replace(patience=0.0), partial(Consumption, replayed=replayed)).run(
        until_current=True
    )


def test_logs_begin_with_the_rows_that_are_there_and_take_no_others(
    keeping: QueuedPipeline, destination: Cluster
) -> None:
    trail = keeping.trail
    # The second log has no change of these rows, the first one has.
    trail.write(9)
    trail.run()
    trail.source.run(f"GRANT {_GRANTED} TO {WORKER}")
    config = keeping.config._replace(destination=destination.parameters_of(WORKER))
    second = Consumer(config, QUICK, partial(Consumption, replayed=Replayed()))
    owned = config._replace(
        source=trail.source.parameters_of(OWNER), destination=destination.parameters_of(OWNER)
    )
    with keeping.publisher(), keeping.consumers(), ThreadPoolExecutor(2) as pool:
        running = pool.submit(second.run)
        try:
            # Where nothing is written, a mark begins the second log.
            trail.source.run("SELECT pg_logical_emit_message(true, '_bemi_mark', '')")
            until(lambda: destination.one("SELECT count(*) FROM _bemi.checkpoint") == 1)
            trail.source.run("UPDATE load SET n = n + 1000 WHERE id = 1")
            writing = pool.submit(trail.write, 30)
            (said,) = baseline(owned, BaselineOptions(sink=sink_of_queue(trail.slot, "second"), rows=2))
            writing.result()
            # Once more for all logs: each has all of them.
            again = BaselineOptions(sink=sink_of_queue(trail.slot, "third"))
            assert not any(one.failure for one in baseline(owned, again))
        finally:
            second.stop()
            running.result(DEADLINE)
    trail.source.run(f"REVOKE {_GRANTED} FROM {WORKER}")
    trail.source.run("DELETE FROM _bemi.baselines; DELETE FROM _bemi.baseline_rows")
    assert not said.failure
    found = destination.run("SELECT operation, after FROM changes ORDER BY id")
    assert {after["id"]: after["n"] for _, after in found} == dict(trail.source.run("SELECT id, n FROM load"))
    rows = Counter(after["id"] for operation, after in found if operation == "BASELINE")
    assert rows and set(rows.values()) == {1}
    keeping.consume()
    assert trail.log.one("SELECT count(*) FROM changes WHERE operation = 'BASELINE'") == 0


def change(operation: str, key: str, old: str | None = None) -> Any:
    values: list[Any] = [None] * len(COLUMNS)
    for place, value in ((OPERATION, operation), (KEY, key), (OLD_KEY, old), (TABLE, "load")):
        values[place] = value
    values[DATABASE], values[SCHEMA], values[POSITION] = "db", "public", 7
    return values


def test_a_row_whose_key_was_changed_in_another_lane_is_known(destination: Cluster) -> None:
    moved, row, other = change("UPDATE", "7", "1"), change("BASELINE", "7"), change("BASELINE", "8")
    taken: Any = [
        SimpleNamespace(chunk=SimpleNamespace(source="slot", lane=lane, named_since={}), changes=changes)
        for lane, changes in ((1, [other]), (0, [moved]), (3, [row]))
    ]
    with closing(psycopg2.connect(**destination.parameters)) as connection, connection.cursor() as cursor:
        leave_out_known(cursor, taken)
    assert [one.changes for one in taken] == [[other], [moved], []]


@pytest.mark.parametrize(
    ("history", "lsn", "is_of_table"), [(0, 0x300, False), (1, 0x180, False), (1, 0x200, True)]
)
def test_changes_of_a_dropped_table_are_told_from_others_in_each_history(
    history: int, lsn: int, is_of_table: bool, destination: Cluster
) -> None:
    former, row = change("CREATE", "7"), change("BASELINE", "7")
    former[POSITION], row[POSITION] = sequence_of(history, lsn), sequence_of(1, 0x400)
    chunk = SimpleNamespace(source="slot", lane=0, named_since={("public", "load"): 0x200})
    taken: Any = [SimpleNamespace(chunk=chunk, changes=[former, row])]
    with closing(psycopg2.connect(**destination.parameters)) as connection, connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO _bemi.histories (slot, number, system_identifier, timeline, start_lsn, reason)
               VALUES ('slot', 0, '1', 1, '0/0', ''), ('slot', 1, '1', 2, '0/100', '')"""
        )
        leave_out_known(cursor, taken)
    assert taken[0].changes == [former] + [row] * (not is_of_table)


def test_a_new_destination_gets_what_the_queue_has_kept_and_goes_on(
    keeping: QueuedPipeline, destination: Cluster
) -> None:
    written = write(keeping)
    # Changes of keys are between all others.
    keeping.trail.source.run("UPDATE load SET id = -id WHERE id = 1")
    keeping.publish()
    assert keeping.consume() == 1
    assert replay(keeping, destination, Replayed()) == len(written) + 1
    assert destination.run(_CHANGES) == keeping.trail.log.run(_CHANGES)
    checkpoint = "SELECT slot, lsn, system_identifier, timeline, publication, database FROM _bemi.checkpoint"
    assert destination.run(checkpoint) == keeping.trail.log.run(checkpoint)
    # A process that is started again with the same command goes on, as does one without --from.
    for again in (Replayed(), None):
        keeping.trail.source.run("UPDATE load SET n = n + 100")
        keeping.publish()
        assert keeping.consume() == replay(keeping, destination, again)
        assert destination.run(_CHANGES) == keeping.trail.log.run(_CHANGES)
        assert destination.run(checkpoint) == keeping.trail.log.run(checkpoint)
    destination.run("DELETE FROM _bemi.lanes")
    with pytest.raises(ReplicationError, match="--from is for a new destination"):
        replay(keeping, destination, Replayed())
    destination.run("DELETE FROM _bemi.checkpoint")
    advice = "has the histories of bemi_trail, and no checkpoint.*use another database"
    with pytest.raises(ReplicationError, match=advice):
        replay(keeping, destination, Replayed())


def test_the_history_that_a_log_begins_with_is_of_the_server_that_has_sent_it(
    destination: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first message of a lane may be older than those of others, and of another server."""
    firsts = [
        SimpleNamespace(first=1, chunk=SimpleNamespace(begin=LanePosition(begin), lanes=2, origin=origin))
        for begin, origin in (
            (sequence_of(1, 0x500), Origin("7001", 1, 1, 1)),
            (sequence_of(2, 0x100), Origin("7002", 1, 2, 2)),
        )
    ]
    monkeypatch.setattr(Replay, "_first", lambda replay, source, lane: firsts[lane])
    monkeypatch.setattr(Replay, "_numbers", lambda replay: SimpleNamespace(identity="stream"))
    queue: Any = SimpleNamespace(sources=lambda: {"slot": 2})
    with closing(psycopg2.connect(**destination.parameters)) as connection:
        Replay(connection, queue, Replayed(), RefusedSources(connection)).begin()
    for table in ("histories", "checkpoint"):
        assert destination.one(f"SELECT system_identifier FROM _bemi.{table}") == "7002"  # noqa: S608


def test_a_new_destination_begins_at_a_time(
    keeping: QueuedPipeline,
    destination: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.sources.replay._PATIENCE", 0.1)
    write(keeping)
    moment = datetime.now(timezone.utc)
    for hours, said in ((0, ""), (2, "is ahead of this machine's by "), (-3, "is behind this machine's by ")):
        with monkeypatch.context() as patch:
            skew_queue(patch, hours)
            with pytest.raises(QueueUnavailable, match="no message of lane 0 of bemi_trail from then on"):
                replay(keeping, destination, Replayed(moment))
        assert said in caplog.text and ("--from is by that of the queue" in caplog.text) is bool(said)
    written = write(keeping)
    log, source = (address(cluster.server.url, WORKER) for cluster in (destination, keeping.trail.source))
    arguments = ("consume", keeping.url, "--until-current", "--from", moment.isoformat(sep=" "))
    with Command("bemi", *arguments, source=source, log=log, slot=keeping.trail.slot) as command:
        assert command.ends() == 0, command.errors
    assert destination.run(_CHANGES) == written


def test_another_clock_of_the_queue_is_named_once(
    keeping: QueuedPipeline,
    destination: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    skew_queue(monkeypatch, 2)
    with (
        closing(psycopg2.connect(**destination.parameters_of(WORKER))) as connection,
        closing(broker.Broker(parse(keeping.url))) as opened,
    ):
        begun = Replay(connection, opened, Replayed(datetime.now(timezone.utc)), RefusedSources(connection))
        # A destination that is not the first one looks for new sources each second.
        for _ in range(3):
            begun.begin()
    assert caplog.text.count("--from is by that of the queue") == 1


def test_what_is_kept_stays_whatever_time_it_is_at_a_consumer(
    keeping: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr(broker, "datetime", Tomorrow)
    write(keeping)
    assert keeping.server.messages() > 0


def test_what_is_kept_is_removed_when_it_is_old(trail: LoadPipeline, nats_server: NatsServer) -> None:
    queued = QueuedPipeline(trail, nats_server, keep="1s")
    try:
        write(queued)
        with queued.consumers():
            until(lambda: nats_server.messages() == 0)
    finally:
        nats_server.delete()
