"""A slot that nobody moves on fills the disk: it moves whatever the traffic is, and costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK, SLOT_STATE
from tests.support.polling import until

JUNK = "INSERT INTO junk SELECT repeat('x', 200) FROM generate_series(1, 1000)"


@pytest.fixture
def elsewhere(trail: LoadPipeline) -> Iterator[Callable[[], None]]:
    """Writes much to another database of the source's server."""
    trail.source.run("CREATE DATABASE elsewhere")
    with closing(psycopg2.connect(**{**trail.source.parameters, "dbname": "elsewhere"})) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE junk (text text)")
            yield lambda: cursor.execute(JUNK)
    trail.source.run("DROP DATABASE elsewhere")


def slot(trail: LoadPipeline) -> tuple[int, int]:
    """What is confirmed, and where a restart begins to read."""
    ((confirmed, restart, _),) = trail.source.run(SLOT_STATE, [trail.slot])
    return confirmed, restart


def end_of_wal(trail: LoadPipeline) -> int:
    return int(trail.source.one("SELECT pg_current_wal_flush_lsn() - '0/0'"))


@pytest.mark.parametrize("where", ["untracked tables", "another database"])
def test_the_slot_moves_past_what_is_not_recorded(
    where: str, trail: LoadPipeline, elsewhere: Callable[[], None]
) -> None:
    with trail.worker():
        for _ in range(2):
            if where == "another database":
                elsewhere()
            else:
                trail.source.run(JUNK)
            end = end_of_wal(trail)
            # Describes the transactions that run, which is where a restart may begin.
            trail.source.run("CHECKPOINT")
            until(lambda: slot(trail)[0] >= end)  # noqa: B023
        until(lambda: slot(trail)[1] >= end)
    assert trail.logged() == []


def test_the_slot_of_an_idle_server_ends_up_at_the_end(trail: LoadPipeline) -> None:
    with trail.worker():
        trail.write()
        trail.catch_up()
        end = end_of_wal(trail)
        trail.source.run("CHECKPOINT")
        until(lambda: slot(trail)[1] >= end)


def test_an_idle_worker_does_not_keep_itself_busy(trail: LoadPipeline) -> None:
    """Where the log lives in its source, a checkpoint is WAL that was not ours."""
    trail.source.run("SELECT pg_drop_replication_slot(%s)", [trail.slot])
    config = trail.config._replace(destination=trail.config.source)
    looks: set[object] = set()
    checkpoints: set[object] = set()
    look = (
        "SELECT max(query_start) FROM pg_stat_activity "
        "WHERE query LIKE '%pg_publication WHERE%' AND pid <> pg_backend_pid()"
    )
    try:
        with trail.worker(QUICK._replace(idle=0.02), config):
            trail.wait_until_read()
            trail.write()
            until(lambda: trail.source.one("SELECT count(*) FROM changes"))
            begin = end_of_wal(trail)
            while len(looks) < 30:
                looks.add(trail.source.one(look))
                checkpoints.add(trail.source.one("SELECT lsn::text FROM _bemi.checkpoint"))
            # The server writes WAL of its own, such as whole pages after a checkpoint.
            assert len(checkpoints) <= 5 + (end_of_wal(trail) - begin) // (64 * 1024)
    finally:
        trail.source.run("TRUNCATE changes; DELETE FROM _bemi.checkpoint")
