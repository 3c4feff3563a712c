"""What goes wrong between two servers passes, is seen in the worker's output, and not in ``changes``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import psycopg2
import pytest

from bemi_django.ingest.stream.connections import connect_source
from bemi_django.ingest.stream.session import Session
from tests.integration.ingest.stream.conftest import Warned
from tests.support.cluster import Cluster, transaction
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
from tests.support.proxy import Proxy
from tests.support.roles import WORKER


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("where", ["stream", "catalog", "log"])
def test_a_connection_that_breaks_is_made_again(
    where: str, is_busy: bool, trail: LoadPipeline, source_proxy: Proxy, log_proxy: Proxy, warned: Warned
) -> None:
    with trail.worker():
        trail.write()
        trail.catch_up()
        with trail.load() if is_busy else nullcontext():
            if where == "log":
                log_proxy.cut()
            else:
                source_proxy.cut("stream" if where == "stream" else "plain")
            trail.write(0 if is_busy else 1)
            until(warned)
        trail.catch_up()


@pytest.mark.parametrize("where", ["source", "log"])
def test_a_server_that_refuses_connections_is_asked_until_it_does_not(
    where: str, trail: LoadPipeline, source_proxy: Proxy, log_proxy: Proxy, warned: Warned
) -> None:
    proxy = source_proxy if where == "source" else log_proxy
    with trail.worker():
        trail.write()
        trail.catch_up()
        with trail.load():
            proxy.refuse()
            proxy.cut()
            until(lambda: warned("Connection refused") >= 3)
            proxy.accept()
        trail.catch_up()


def test_a_stream_that_says_nothing_is_given_up_by_both_sides(
    trail: LoadPipeline, source_proxy: Proxy, warned: Warned
) -> None:
    with trail.worker(QUICK._replace(silence=2.0)):
        trail.write()
        trail.catch_up()
        with trail.load():
            source_proxy.stall("stream")
            until(lambda: warned("the server of the stream does not answer"))
        trail.catch_up()


@pytest.mark.parametrize("where", ["catalog", "log"])
def test_a_connection_that_hangs_loses_nothing_whatever_becomes_of_it(
    where: str, trail: LoadPipeline, source_proxy: Proxy, log_proxy: Proxy, warned: Warned
) -> None:
    proxy = source_proxy if where == "catalog" else log_proxy
    with trail.worker():
        trail.write()
        trail.catch_up()
        for end in (proxy.resume, proxy.cut):
            proxy.stall("plain")
            trail.write(2)
            end()
            trail.catch_up()
    assert warned()


@pytest.mark.parametrize("is_crash", [False, True], ids=["fast", "immediate"])
@pytest.mark.parametrize("where", ["source", "log"])
def test_a_server_may_restart_under_load(
    where: str, is_crash: bool, trail: LoadPipeline, warned: Warned
) -> None:
    cluster: Cluster = getattr(trail, where)
    with trail.worker(), trail.load():
        until(trail.logged)
        cluster.stop(is_crash)
        until(warned)
        cluster.start()
        before = until(trail.logged)[-1]
        until(lambda: trail.logged()[-1] > before)
    trail.run()
    trail.check()


def test_a_log_that_is_down_for_long_is_asked_less_and_less_often(
    trail: LoadPipeline, caplog: pytest.LogCaptureFixture, warned: Warned
) -> None:
    with trail.worker(QUICK._replace(first_pause=0.1)):
        trail.log.stop()
        trail.write(10)
        until(lambda: warned() >= 3)
        trail.log.start()
        trail.catch_up()
    pauses = [line.rsplit(" in ", 1)[1] for line in caplog.messages if "trying again" in line]
    assert pauses[:3] == ["0.1 s", "0.2 s", "0.2 s"]


def test_a_session_that_wrote_something_was_a_good_one(
    trail: LoadPipeline, caplog: pytest.LogCaptureFixture, warned: Warned
) -> None:
    with trail.worker(QUICK._replace(longest_pause=60)):
        for number in range(3):
            trail.write()
            trail.catch_up()
            trail.source.run("SELECT pg_terminate_backend(%s, 10000)", [trail.wait_until_read()])
            until(lambda: warned() > number)  # noqa: B023
    assert all("in 0.1 s" in line for line in caplog.messages if "trying again" in line)


@contextmanager
def a_trigger_that_says_so(log: Cluster) -> Iterator[Callable[[], object]]:
    log.run(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "RAISE 'No space left on device' USING ERRCODE = '53100', DETAIL = NEW; END$$; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    yield lambda: log.run("DROP FUNCTION full_disk CASCADE")


@contextmanager
def a_small_file_system(log: Cluster) -> Iterator[Callable[[], object]]:
    """The partitions of ``changes`` are made anew in a tablespace of 1 MB."""
    disk, owner = log.directory / "disk", (log.directory / "data").stat().st_uid
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size=1m,uid={owner},mode=700", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        disk.rmdir()
        pytest.skip("only root mounts a file system, and not everywhere")
    partitions = "SELECT relid::text FROM pg_partition_tree('changes') WHERE isleaf AND relid::text ~ '_\\d'"
    drop = [f"DROP TABLE {name}" for (name,) in log.run(partitions)]
    try:
        log.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
        log.run("GRANT CREATE ON TABLESPACE small TO PUBLIC")
        log.run("ALTER DATABASE postgres SET default_tablespace = small; " + "; ".join(drop))
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        log.run("ALTER DATABASE postgres RESET default_tablespace; " + "; ".join(drop))
        log.run("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


@pytest.mark.parametrize("full_disk", [a_small_file_system, a_trigger_that_says_so])
def test_a_full_disk_is_waited_for(full_disk: Any, trail: LoadPipeline, warned: Warned) -> None:
    with full_disk(trail.log) as make_room, trail.worker():
        trail.source.run(
            "INSERT INTO load SELECT n, n, text FROM generate_series(1, 100) n, (SELECT string_agg("
            "md5(i::text), '') || 'row-value' AS text FROM generate_series(1, 1000) i) random"
        )
        until(lambda: warned("No space left on device") >= 2)
        assert trail.logged() == []
        make_room()
        trail.catch_up()


def test_a_lock_in_the_log_is_no_end(trail: LoadPipeline, warned: Warned) -> None:
    with trail.worker(QUICK._replace(lock=0.2)):
        with transaction(trail.log) as cursor:
            cursor.execute("LOCK TABLE changes IN SHARE MODE")
            trail.write(2)
            until(lambda: warned("canceling statement due to lock timeout") >= 2)
        trail.catch_up()


def test_a_deadlock_in_the_log_is_no_end(trail: LoadPipeline, warned: Warned) -> None:
    trail.log.run(f"ALTER ROLE {WORKER} SET deadlock_timeout = 500")
    with trail.worker(QUICK._replace(lock=10)):
        trail.write()
        trail.catch_up()
        with transaction(trail.log) as cursor:
            cursor.execute("SET deadlock_timeout = 60000")
            cursor.execute("SELECT FROM _bemi.checkpoint FOR UPDATE")
            trail.write(2)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            until(lambda: trail.log.one(waiting))
            cursor.execute("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE")
            until(lambda: warned("deadlock detected"))
        trail.catch_up()
    trail.log.run(f"ALTER ROLE {WORKER} RESET deadlock_timeout")


#: The worker has no other reason to talk to the server, and neither of them gives up on the other.
PATIENT = QUICK._replace(idle=600, silence=600)


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_a_fast_shutdown_of_the_source_is_not_held_up(is_busy: bool, trail: LoadPipeline) -> None:
    with trail.worker(PATIENT):
        trail.write()
        trail.catch_up()
        with trail.load() if is_busy else nullcontext():
            trail.source.shut_down()
            trail.source.start()
        trail.write()
        trail.catch_up()


def test_a_fast_shutdown_does_not_wait_for_the_end_of_a_large_transaction(trail: LoadPipeline) -> None:
    with trail.held_log(), trail.worker(PATIENT):
        trail.source.run("INSERT INTO load SELECT n, n FROM generate_series(1, 100000) n")
        until(lambda: trail.log.one("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        trail.source.shut_down()
        trail.source.start()


def test_a_wait_is_ended_although_nobody_knows_how_to_connect_again(trail: LoadPipeline) -> None:
    """What computes the parameters, such as a token, may fail while the worker is told to stop."""

    def fail() -> Any:
        raise RuntimeError

    session = Session(trail.config._replace(ask=fail), QUICK)
    with closing(connect_source(trail.config)) as server, ThreadPoolExecutor(1) as pool:
        session.server = server
        waiting = pool.submit(session.ask, "SELECT pg_sleep(600)")
        until(lambda: trail.source.one("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep.600'"))
        try:
            session.abandon()
        finally:
            failure = waiting.exception(DEADLINE)
    assert isinstance(failure, psycopg2.OperationalError)
