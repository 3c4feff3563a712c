"""A publisher dies when a batch is in some of the lanes; the server goes on, is promoted, or loses its slot.

All destinations follow: those that have a part of the changes, too.

``BEMI_BLOWS`` of 10 or more tries all combinations: ``make torture``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import pytest

from bemi_django.exceptions import QueueUnavailable
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.ingest.queue.acknowledgements import Acknowledgements, Outgoing
from bemi_django.ingest.queue.broker import Broker
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.ingest.stream.timelines import Switch
from tests.support.cluster import Cluster
from tests.support.divided_pipeline import DividedPipeline
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline

#: How a transaction is written, and what follows it: nothing, or another one that is in all of the lanes.
FORMS = {
    "whole": "INSERT INTO load (id, n) SELECT i, i FROM generate_series(101, 112) i",
    "split": "INSERT INTO load (id, n) SELECT i, i FROM generate_series(101, 150) i",
    "barrier": "UPDATE load SET id = -id, n = n + 100 WHERE id IN (1, 2)",
}
#: The number of changes that it makes.
WRITTEN = {"whole": 12, "split": 50, "barrier": 2}
#: The lanes that have the batch.
LANES = ((2,), (2, 1), (0,), (1, 0), ())
EVENTS = ("restart", "promotion", "loss", "gap")


class Case(NamedTuple):
    """What is published to which lanes, whether all have what follows, where the log is, and what happens."""

    form: str
    lanes: tuple[int, ...]
    is_followed: bool
    place: str
    event: str


FEW = [
    Case("whole", (2,), False, "elsewhere", "promotion"),
    Case("split", (2, 1), False, "source", "promotion"),
    Case("split", (0,), True, "elsewhere", "loss"),
    Case("barrier", (2, 1), True, "source", "gap"),
    Case("barrier", (0,), False, "elsewhere", "gap"),
    Case("split", (1, 0), True, "elsewhere", "restart"),
]
ALL = [Case(*one) for one in itertools.product(FORMS, LANES, (False, True), ("elsewhere", "source"), EVENTS)]
DIVIDED = [
    Case("split", (2, 1), True, "elsewhere", "promotion"),
    Case("whole", (0,), True, "elsewhere", "loss"),
    Case("split", (1, 0), False, "elsewhere", "gap"),
]
IS_LONG = int(os.environ.get("BEMI_BLOWS", "2")) >= 10
CASES = ALL if IS_LONG else FEW
DIVIDED_CASES = [one for one in ALL if one.place == "elsewhere"] if IS_LONG else DIVIDED


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def queued(
    case: Case, source_cluster: Cluster, log_cluster: Cluster, nats_server: NatsServer
) -> Iterator[QueuedPipeline]:
    log = source_cluster if case.place == "source" else log_cluster
    trail = LoadPipeline(source_cluster, log, "bemi_partial")
    try:
        trail.run()
        yield QueuedPipeline(trail, nats_server)
    finally:
        trail.drop()
        nats_server.delete()


@pytest.mark.parametrize("case", CASES, ids=lambda one: "-".join(map(str, one)), indirect=True)
def test_a_batch_in_some_of_the_lanes_stops_nothing(
    case: Case, queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.consumption._BALANCE", 0.1)
    monkeypatch.setattr("bemi_django.ingest.queue.publisher._LIMIT", 2000)
    trail = queued.trail
    trail.source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(1, 10) i")
    queued.publish()
    queued.consume()
    switch_source(case, queued, monkeypatch)
    with queued.consumers(2):
        Supervisor(queued.config._replace(accept_gap=True), QUICK).run(until_current=True)
        trail.release()
        trail.source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(201, 212) i")
        queued.publish()
        until(lambda: trail.checkpoint() >= trail.confirmed(), 20, lambda: str(queued.lanes()))
    check(case, trail)


@pytest.fixture(scope="module")
def second_log() -> Iterator[Cluster]:
    with closing(load_cluster(wal_level="replica")) as cluster:
        yield cluster


@pytest.mark.parametrize("case", DIVIDED_CASES, ids=lambda one: "-".join(map(str, one)), indirect=True)
def test_all_destinations_follow(
    case: Case, queued: QueuedPipeline, second_log: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.consumption._BALANCE", 0.1)
    monkeypatch.setattr("bemi_django.ingest.queue.publisher._LIMIT", 2000)
    trail = queued.trail
    with DividedPipeline(queued, second_log, {"hash": "1/2"}).emptied() as divided:
        queued.config = divided.publishing
        trail.source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(1, 10) i")
        divided.publish()
        divided.consume("log")
        divided.consume("second")
        switch_source(case, queued, monkeypatch)
        gapped = queued.config._replace(accept_gap=True)
        # The other destination is away, or beside it, while the first one follows.
        names = ("log", "second")[: 1 + case.is_followed]
        with divided.running(*names):
            Supervisor(gapped, QUICK).run(until_current=True)
        trail.release()
        trail.source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(201, 212) i")
        divided.publish()
        with divided.running("log", "second"):
            divided.are_complete()
        rows = "SELECT diverged, operation, id::text, context FROM changes WHERE operation = 'GAP'"
        gaps = [log.run(rows) for log in divided.logs.values()]
        assert gaps[0] == gaps[1] and len(gaps[0]) == (case.event == "gap")
        histories = "SELECT number, start_lsn, timeline, reason FROM _bemi.histories ORDER BY number"
        assert second_log.run(histories)[1:] == trail.log.run(histories)[1:]
        check(case, trail, *divided.logs.values())


def switch_source(case: Case, queued: QueuedPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the publisher, and let happen to the server what the case says."""
    trail = queued.trail
    switch = interrupt(case, queued)
    if case.event in ("promotion", "loss"):
        # As if the server had been on a timeline before.
        trail.log.run("UPDATE _bemi.checkpoint SET timeline = 0 WHERE slot = 'bemi_partial'")
        monkeypatch.setattr(SlotSource, "timeline_history", lambda source, timeline: [Switch(0, switch)])
    elif case.event == "gap":
        trail.source.run("SELECT pg_drop_replication_slot('bemi_partial')")


def interrupt(case: Case, queued: QueuedPipeline) -> int:
    """Publish a batch to some of the lanes; return where the server is promoted."""
    trail, source = queued.trail, queued.trail.source
    begin = end = int(source.one("SELECT pg_current_wal_insert_lsn() - '0/0'"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Broker, "publish", interrupted(case, Broker.publish))
        source.run(FORMS[case.form])
        end = int(source.one("SELECT pg_current_wal_insert_lsn() - '0/0'"))
        source.run("INSERT INTO load (id, n) SELECT i, i FROM generate_series(151, 162) i")
        last = int(source.one("SELECT pg_current_wal_insert_lsn() - '0/0'"))
        with pytest.raises(QueueUnavailable, match="killed"):
            Supervisor(queued.config, QUICK._replace(patience=0.0)).run(until_current=True)
    trail.release()
    if case.event != "loss":
        return last
    # What is lost is all of it, or what follows the batch.
    return end if case.is_followed else begin


def interrupted(
    case: Case, publish: Callable[[Broker, Sequence[Outgoing], Acknowledgements], None]
) -> Callable[[Broker, Sequence[Outgoing], Acknowledgements], None]:
    batches = itertools.count()

    def publish_some(
        broker: Broker, messages: Sequence[Outgoing], acknowledgements: Acknowledgements
    ) -> None:
        number = next(batches)
        lanes = case.lanes if number == 0 else (0, 1, 2) if case.is_followed else ()
        stored = [one for one in messages if int(one.subject.rpartition(".")[2]) in lanes]

        def fail() -> None:
            acknowledgements.fail(QueueUnavailable("killed"))

        if stored:
            publish(broker, stored, Acknowledgements(len(stored), fail))
        else:
            fail()

    return publish_some


def check(case: Case, trail: LoadPipeline, *logs: Cluster) -> None:
    """Assert that the log is what the table is, or the logs together; what was in a gap may be missing."""
    query = (
        "SELECT id::text, primary_key::int, previous_primary_key::int, (after ->> 'n')::int FROM changes "
        "WHERE NOT diverged AND operation IN ('CREATE', 'UPDATE')"
    )
    logged = sorted(row for log in logs or (trail.log,) for row in log.run(query))
    numbers = [n for *_, n in logged]
    assert len(numbers) == len(set(numbers))
    rows: dict[int, int] = {}
    for _, key, previous, n in logged:
        if previous is not None:
            rows.pop(previous, None)
        rows[key] = n
    table = dict(trail.source.run("SELECT id, n FROM load"))
    if case.event == "gap":
        assert len(trail.gaps()) == 1
        rows.update({key: n for key, n in table.items() if 100 < n < 200 or n <= 2})
        rows = {key: n for key, n in rows.items() if key in table}
    else:
        assert trail.gaps() == []
        assert len(logged) == 10 + WRITTEN[case.form] + 12 + 12
    assert rows == table
