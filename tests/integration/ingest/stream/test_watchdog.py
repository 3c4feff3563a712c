"""A server that accepts connections and answers no more is given up; one that works is waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.integration.ingest.stream.conftest import Warned
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.proxy import Proxy
from tests.support.roles import WORKER

#: The stream lives for longer than any test waits.
WATCHFUL = QUICK._replace(answer=0.5, silence=600)
#: More than the worker sends at once: rows of the open transaction are in the log before it is complete.
LARGE = "INSERT INTO load SELECT n, n FROM generate_series(1, 30000) n"


@pytest.fixture
def has_timed_out(trail: LoadPipeline) -> Callable[[], bool]:
    """Tell whether the source has given up a stream since the test began. Other tests use the server, too."""
    log = trail.source.directory / "server.log"
    begin = log.stat().st_size
    return lambda: b"replication timeout" in log.read_bytes()[begin:]


@contextmanager
def stopped(trail: LoadPipeline) -> Iterator[None]:
    """Stop the log's server as a machine that hangs: the kernel accepts connections, and nobody answers."""
    query = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
    postmaster = int((trail.log.directory / "data" / "postmaster.pid").read_text().split()[0])
    processes = [*(process for (process,) in trail.log.run(query, [WORKER])), postmaster]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_a_destination_whose_connection_goes_nowhere_is_given_up(
    is_busy: bool,
    trail: LoadPipeline,
    log_proxy: Proxy,
    warned: Warned,
    caplog: pytest.LogCaptureFixture,
    has_timed_out: Callable[[], bool],
) -> None:
    with trail.worker(WATCHFUL):
        trail.write(20 if is_busy else 1)
        trail.catch_up()
        for number in range(1, 3):
            log_proxy.stall("plain")
            trail.write()
            until(lambda: warned("the destination does not answer") >= number)  # noqa: B023 - used at once
            trail.catch_up()
        until(lambda: any("servers that did not answer" in line for line in caplog.messages))
    assert "servers that did not answer" in trail.counters()
    assert not has_timed_out()


@pytest.mark.parametrize("is_reachable", [True, False], ids=["reachable", "unreachable"])
def test_a_transaction_that_a_lost_connection_leaves_open_is_no_obstacle(
    is_reachable: bool,
    trail: LoadPipeline,
    log_proxy: Proxy,
    warned: Warned,
    has_timed_out: Callable[[], bool],
) -> None:
    with trail.worker(WATCHFUL._replace(lock=600)):
        trail.wait_until_read()
        with trail.held_log() as let_go:
            trail.source.run(LARGE)
            trail.wait_until_held()
            log_proxy.stall("plain")
            if not is_reachable:
                log_proxy.refuse()
            # The server takes these rows, and waits for more on a connection that goes nowhere.
            let_go()
            until(lambda: warned("the destination does not answer"))
            if not is_reachable:
                until(lambda: warned("Connection refused"))
                log_proxy.accept()
            trail.catch_up()
    assert not has_timed_out()


def test_a_server_that_hangs_is_given_up_and_asked_until_it_answers(
    trail: LoadPipeline, warned: Warned, has_timed_out: Callable[[], bool]
) -> None:
    trail.config.destination["connect_timeout"] = 2
    with trail.worker(WATCHFUL):
        trail.write()
        trail.catch_up()
        with stopped(trail):
            trail.write(5)
            until(lambda: warned("the destination does not answer"))
            until(lambda: warned("timeout expired"))
        trail.catch_up()
    assert not has_timed_out()


def test_a_destination_that_takes_long_is_waited_for_and_holds_the_stream(
    trail: LoadPipeline, warned: Warned, has_timed_out: Callable[[], bool]
) -> None:
    silence = 10.0
    with trail.worker(QUICK._replace(answer=1.0, silence=silence, lock=600)):
        trail.write()
        trail.catch_up()
        stream = trail.wait_until_read()
        with trail.held_log():
            # Two batches are on their way, and the next one waits: nobody reads the stream.
            trail.source.run(LARGE.replace("(1,", "(2,"))
            trail.wait_until_held()
            query = "SELECT extract(epoch FROM reply_time)::float8 FROM pg_stat_replication WHERE pid = %s"
            began = trail.source.one(query, [stream])
            until(lambda: trail.source.one(query, [stream]) > began + 1.2 * silence)
        trail.catch_up()
        assert trail.wait_until_read() == stream
    assert not warned()
    assert not has_timed_out()


def test_a_source_whose_connection_goes_nowhere_is_given_up(
    trail: LoadPipeline, source_proxy: Proxy, warned: Warned
) -> None:
    with trail.worker(WATCHFUL):
        trail.write()
        trail.catch_up()
        source_proxy.stall("plain")
        until(lambda: warned("the source does not answer"))
        trail.write()
        trail.catch_up()
