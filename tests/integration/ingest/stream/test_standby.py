"""One worker at a time: another one waits, takes over, and is never written over by the first."""

from __future__ import annotations

import signal
from contextlib import closing

import pytest

from bemi_django.exceptions import Superseded
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.stream.connections import connect_destination
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK
from tests.support.polling import until
from tests.support.proxy import Proxy


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_standby_takes_over(number: signal.Signals, trail: LoadPipeline) -> None:
    with trail.command() as first, trail.load():
        first.says("reading the slot")
        until(trail.logged)
        with trail.command() as second:
            second.says("standing by: the slot bemi_trail is in use by process")
            first.send(number)
            second.says("reading the slot")
            before = trail.logged()[-1]
            until(lambda: trail.logged()[-1] > before)
            assert second.out.count("standing by") == 1
    trail.run()
    trail.check()


def test_a_worker_that_stood_still_stands_by_when_it_goes_on(trail: LoadPipeline) -> None:
    with trail.command() as first:
        first.says("reading the slot")
        trail.write()
        until(trail.logged)
        first.send(signal.SIGSTOP)
        trail.write(10)
        with trail.command() as second:
            second.says("standing by")
            trail.source.run("SELECT pg_terminate_backend(%s, 10000)", [trail.wait_until_read()])
            second.says("reading the slot")
            until(lambda: len(trail.logged()) == 11)
            first.send(signal.SIGCONT)
            first.says("standing by")
            trail.write()
            trail.catch_up()


def test_what_another_worker_has_written_is_not_written_again(
    trail: LoadPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Proxy(trail.source.server.port)) as proxy:
        config = trail.config._replace(source={**trail.config.source, "port": proxy.port})
        with trail.worker(QUICK._replace(idle=60), config):
            trail.write()
            trail.catch_up()
            # It reads, and waits for an answer before it writes.
            proxy.stall("plain")
            trail.write()
            until(lambda: proxy.holds_back)
            trail.source.run("SELECT pg_terminate_backend(%s, 10000)", [trail.wait_until_read()])
            with trail.worker():
                trail.catch_up()
                proxy.resume()
                until(lambda: "Another worker has written" in caplog.text)
                until(lambda: "standing by" in caplog.text)
    trail.check()


def test_a_checkpoint_moves_only_from_where_it_was_left(trail: LoadPipeline) -> None:
    with closing(connect_destination(trail.config)) as connection, connection.cursor() as cursor:
        checkpoints = Checkpoints(connection, trail.slot)
        checkpoint = checkpoints.read()
        assert checkpoint is not None
        checkpoints.advance(cursor, checkpoint.lsn, checkpoint.lsn + 8, None)
        with pytest.raises(Superseded):
            checkpoints.advance(cursor, checkpoint.lsn, checkpoint.lsn + 16, None)
