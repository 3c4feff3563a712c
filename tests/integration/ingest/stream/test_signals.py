"""SIGTERM and SIGINT: the worker finishes its batch and leaves, wherever it is."""

from __future__ import annotations

import signal

import pytest

from tests.support.cluster import transaction
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until

both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


@both_signals
def test_a_worker_finishes_its_batch(number: signal.Signals, trail: LoadPipeline) -> None:
    with trail.command() as worker:
        worker.says("reading the slot")
        trail.write(20)
        until(trail.logged)
        worker.send(number)
        assert (worker.ends(), worker.errors) == (0, "")
        assert worker.out.splitlines()[-1] == f"{len(trail.logged())} changes written"
    trail.run()
    trail.check()


def test_a_standby_leaves(trail: LoadPipeline) -> None:
    with trail.worker():
        trail.wait_until_read()
        with trail.command() as standby:
            standby.says("standing by")
            standby.send(signal.SIGTERM)
            assert (standby.ends(), standby.errors) == (0, "")


def test_a_worker_that_waits_between_attempts_leaves(trail: LoadPipeline) -> None:
    with trail.command(log=trail.log.server.url.replace(str(trail.log.server.port), "1")) as worker:
        worker.says("trying again in 1.0 s")
        worker.send(signal.SIGINT)
        assert (worker.ends(), worker.errors) == (0, "")


def test_a_worker_leaves_a_large_transaction_in_its_middle(trail: LoadPipeline) -> None:
    with trail.command() as worker:
        worker.says("reading the slot")
        trail.source.run("INSERT INTO load SELECT n, n FROM generate_series(1, 200000) n")
        copies = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %changes%FROM STDIN%'"
        until(lambda: trail.log.one(copies))
        worker.send(signal.SIGTERM)
        assert (worker.ends(), worker.errors) == (0, "")
    assert trail.logged() == []
    trail.source.run("TRUNCATE load")


def test_a_worker_that_waits_for_a_server_is_not_waited_for(trail: LoadPipeline) -> None:
    with trail.command() as worker:
        worker.says("reading the slot")
        with transaction(trail.log) as cursor:
            cursor.execute("LOCK TABLE changes IN SHARE MODE")
            trail.write()
            until(lambda: trail.log.one("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            worker.send(signal.SIGTERM)
            worker.says("stopping when the batch is written")
            worker.send(signal.SIGTERM)
            assert (worker.ends(), worker.errors) == (0, "")
            assert "stopped before the batch was written" in worker.out
    trail.run()
    trail.check()


def test_a_slot_that_is_being_made_is_not_left_behind(trail: LoadPipeline) -> None:
    with transaction(trail.source) as cursor:
        cursor.execute("SELECT txid_current()")
        with trail.command(slot="bemi_unmade") as worker:
            worker.says("creating the slot")
            made = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'bemi_unmade'"
            until(lambda: trail.source.one(made))
            worker.send(signal.SIGTERM)
            worker.says("stopping when the batch is written")
            worker.send(signal.SIGTERM)
            assert (worker.ends(), worker.errors) == (0, "")
            until(lambda: not trail.source.one(made))
