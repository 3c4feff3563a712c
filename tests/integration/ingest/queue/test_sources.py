"""Several sources publish into one stream, and have one log: each has its own watermark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from bemi_django.exceptions import BemiError, LogBehind, ReplicationError
from bemi_django.ingest.destination import histories
from bemi_django.ingest.loop.supervisor import Supervisor
from bemi_django.time_travel import as_of
from tests.support.cluster import Cluster
from tests.support.load_pipeline import load_cluster
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.shared_log import OtherDatabase, SharedLogPipeline
from tests.support.switched_project import switched_project

#: The lock of a lane.
_LANE = "hashtextextended(format('_bemi.lanes %%s.%%s', %s::text, 1), 0)"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Cluster]:
    with closing(load_cluster()) as cluster:
        yield cluster


@contextmanager
def recorded(servers: dict[str, Cluster], log: Cluster, queue: NatsServer) -> Iterator[list[QueuedPipeline]]:
    """Record databases, which are given by slots, in one log."""
    with ExitStack() as stack:
        stack.callback(queue.delete)
        made = []
        for slot, server in servers.items():
            pipeline = SharedLogPipeline(server, log, slot)
            stack.callback(pipeline.drop)
            pipeline.run()
            made.append(QueuedPipeline(pipeline, queue, lanes=2))
        yield made


def has_logged(queued: QueuedPipeline, number: int) -> None:
    until(lambda: len(queued.trail.logged()) >= number)


def is_complete(queued: QueuedPipeline) -> None:
    """Wait until the watermark is where the slot is."""
    until(lambda: queued.trail.checkpoint() >= queued.trail.confirmed())


def test_several_sources_share_a_stream_and_a_log(
    source_cluster: Cluster, log_cluster: Cluster, elsewhere: Cluster, nats_server: NatsServer
) -> None:
    with closing(OtherDatabase(source_cluster, "beside")) as beside:
        servers = {"bemi_trail": source_cluster, "bemi_beside": beside, "bemi_elsewhere": elsewhere}
        with recorded(servers, log_cluster, nats_server) as sources, ExitStack() as running:
            running.enter_context(sources[0].consumers(2))
            for one in sources:
                running.enter_context(one.publisher())
            with ExitStack() as writing:
                for one in sources:
                    writing.enter_context(one.trail.load())
                for one in sources:
                    has_logged(one, 50)
            for one in sources:
                one.catch_up()
                is_complete(one)
            written = sum(len(one.trail.logged()) for one in sources)
            assert log_cluster.one("SELECT count(*) FROM changes") == written


def test_a_database_is_published_by_one_slot_and_its_copy_to_a_log_of_its_own(
    source_cluster: Cluster, log_cluster: Cluster, nats_server: NatsServer
) -> None:
    with recorded({"bemi_trail": source_cluster}, log_cluster, nats_server) as (one,):
        one.publish()
        twice = one.config._replace(slot="bemi_twice")
        one.trail.write(3)
        with one.publisher(), one.consumers():
            again = Supervisor(twice, QUICK)
            advice = "by the slot bemi_trail already.*set BEMI_SLOT to bemi_trail"
            with pytest.raises(ReplicationError, match=advice):
                again.run(until_current=True)
            # What is on its way goes on.
            has_logged(one, 3)
        log_cluster.run("UPDATE _bemi.checkpoint SET timeline = 7")
        with pytest.raises(
            ReplicationError, match="another timeline of this server.*give it a log of its own"
        ):
            again.run(until_current=True)
        assert (
            source_cluster.one("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'bemi_twice'")
            == 0
        )


def test_two_servers_with_a_database_of_one_name_are_not_mixed(queued: QueuedPipeline) -> None:
    """Each has a log of its own, and the same slot, as they have the same name and the same stream."""
    queued.trail.write(5)
    queued.publish()
    queued.trail.log.run("UPDATE _bemi.histories SET system_identifier = '7'")
    with pytest.raises(ReplicationError, match="slot bemi_trail of another server.*stream rmm bemi [123]$"):
        queued.consume()
    assert queued.server.messages() == 3 and queued.trail.logged() == []


def test_what_is_in_the_queue_is_waited_for_by_its_source_alone(
    source_cluster: Cluster, elsewhere: Cluster, nats_server: NatsServer, django_db_blocker: Any
) -> None:
    servers = {"bemi_trail": source_cluster, "bemi_elsewhere": elsewhere}
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        other, own = stack.enter_context(recorded(servers, elsewhere, nats_server))
        project = stack.enter_context(switched_project(own.trail, elsewhere))
        own.publish()
        # Nobody writes one of the lanes.
        elsewhere.run(f"SELECT pg_advisory_lock({_LANE})", [own.trail.slot])
        for one in (other, own):
            stack.enter_context(one.publisher())
        with own.consumers(2):
            own.trail.write(30)
            other.trail.write(30)
            has_logged(other, 30)
            is_complete(other)
            has_logged(own, 10)
            until(lambda: own.trail.checkpoint() < own.trail.confirmed())
            advice = "with a queue 'manage.py bemi consume'"
            with (
                override_settings(BEMI_AS_OF_PATIENCE=0.1),
                pytest.raises(LogBehind, match=advice),
                as_of(timezone.now()),
            ):
                """It waits."""
            with pytest.raises(BemiError, match=advice):
                project.verify(patience=0.1)
            assert len(own.trail.logged()) < 30
            assert project.listen() == []
            elsewhere.run(f"SELECT pg_advisory_unlock({_LANE})", [own.trail.slot])
            own.catch_up()
            project.note()
            project.check(25)


def name_like_another(queued: QueuedPipeline) -> Callable[[], object]:
    """Let ids of a source have the number of another one, until what is returned is called."""
    # As in a log whose publisher has begun, and that has no change yet.
    queued.trail.log.run("UPDATE _bemi.checkpoint SET recorded_as = '' WHERE slot = %s", [queued.trail.slot])
    patch = pytest.MonkeyPatch()
    patch.setattr(histories, "source_of", lambda server, database: 7)
    return patch.undo


def move_to_another_server(queued: QueuedPipeline) -> Callable[[], object]:
    query = "UPDATE _bemi.histories SET system_identifier = %s WHERE slot = %s"
    server = queued.trail.source.one("SELECT system_identifier::text FROM pg_control_system()")
    queued.trail.log.run(query, ["7", queued.trail.slot])
    return lambda: queued.trail.log.run(query, [server, queued.trail.slot])


def send_another_version(queued: QueuedPipeline) -> Callable[[], object]:
    async def publish(jetstream: Any) -> Any:
        return await jetstream.publish(f"bemi.{queued.trail.slot}.1", b'{"version": 99}')

    number = queued.server.ask(publish).seq

    async def remove(jetstream: Any) -> None:
        await jetstream.delete_msg("bemi", number)

    return lambda: queued.server.ask(remove)


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (name_like_another, "would have the same number of the source in their ids"),
        (move_to_another_server, "of the slot bemi_elsewhere of another server"),
        (send_another_version, "nats stream rmm bemi"),
    ],
)
def test_a_source_that_is_refused_holds_up_no_other(
    refuse: Callable[[QueuedPipeline], Callable[[], object]],
    said: str,
    source_cluster: Cluster,
    log_cluster: Cluster,
    elsewhere: Cluster,
    nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bemi_django.ingest.queue.sources.refused_sources._AGAIN", 0.1)
    servers = {"bemi_trail": source_cluster, "bemi_elsewhere": elsewhere}
    trouble = "SELECT coalesce(trouble, '') FROM _bemi.checkpoint WHERE slot = 'bemi_elsewhere'"
    with recorded(servers, log_cluster, nats_server) as (one, other):
        other.publish()
        allow = refuse(other)
        for queued in (other, one):
            queued.trail.write(5)
            queued.publish()
        # All that can be written is, whatever comes first.
        with pytest.raises(ReplicationError, match=said):
            one.consume()
        assert len(one.trail.logged()) == 5 and other.trail.logged() == []
        with one.consumers(2):
            one.trail.write(5)
            one.publish()
            has_logged(one, 10)
            until(lambda: said in log_cluster.one(trouble))
            is_complete(one)
            assert other.trail.checkpoint() < other.trail.confirmed()
            # Others hold the lanes, and have refused the source.
            with pytest.raises(ReplicationError, match=said):
                one.consume()
            allow()
            has_logged(other, 5)
            is_complete(other)
        assert log_cluster.one(trouble) == ""
        other.catch_up()
