"""Patroni moves the primary: with its permanent slots nothing is lost, and without them the loss is exact.

``BEMI_PATRONI`` is Patroni's program, if it is not on the path. The servers are those of ``PG_BIN``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from bemi_django.exceptions import LostHistory
from bemi_django.wire.lsn import format_lsn, parse_lsn
from tests.support.load_pipeline import LoadPipeline, load_cluster, prepare
from tests.support.patroni import Patroni, patroni_cluster
from tests.support.polling import until

ROUNDS = int(os.environ.get("BEMI_PROMOTIONS", "0")) // 4
SLOT = "bemi_patroni"
_KEPT = """
SELECT (after ->> 'n')::int, (after ->> 'id')::int FROM changes
WHERE NOT diverged AND operation IN ('CREATE', 'UPDATE') ORDER BY id
"""

pytestmark = pytest.mark.skipif(
    not ROUNDS, reason="Patroni notices a crash after twenty seconds: make torture"
)


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pipeline(servers: ExitStack, place: Patroni) -> LoadPipeline:
    """Record the primary of the cluster, wherever it is, in the log of another server."""
    primary = place.primary()
    prepare(primary)
    trail = LoadPipeline(primary, servers.enter_context(closing(load_cluster(wal_level="replica"))), SLOT)
    address = {
        "host": ",".join("127.0.0.1" for _ in place.nodes),
        "port": ",".join(str(node.parameters["port"]) for node in place.nodes),
        "target_session_attrs": "read-write",
    }
    trail.config = trail.config._replace(source={**trail.config.source, **address})
    return trail


def catch_up(trail: LoadPipeline) -> None:
    """Wait for the last row, then compare the log with the table.

    A standby that nobody waits for can lose commits, which the log has and marks.
    """
    last = int(trail.source.one("SELECT max(n) FROM load"))
    until(lambda: [n for n, _ in trail.log.run(_KEPT)][-1:] == [last])
    logged = trail.log.run(_KEPT)
    assert [n for n, _ in logged] == list(range(1, last + 1))
    assert {row: n for n, row in logged} == dict(trail.source.run("SELECT id, n FROM load"))


def under_load(trail: LoadPipeline) -> None:
    """Wait until the log has more than before."""
    written = len(trail.logged())
    until(lambda: len(trail.logged()) > written + 50)


def test_nothing_is_lost_with_a_permanent_slot(servers: ExitStack) -> None:
    place = servers.enter_context(patroni_cluster(SLOT))
    trail = pipeline(servers, place)
    primary = place.primary()
    with trail.worker():
        for _ in range(ROUNDS):
            standby = place.standby_of(primary)
            with trail.load():
                under_load(trail)
                place.switch_over(primary, standby)
                trail.source = standby
                under_load(trail)
            catch_up(trail)
            primary, standby = standby, place.standby_of(standby)
            with trail.load():
                under_load(trail)
                primary.stop(is_crash=True)
            until(standby.is_primary, why=standby.said)
            trail.source = standby
            trail.write(5)
            catch_up(trail)
            primary.start()
            primary = standby
        place.standby_of(primary)
    assert trail.gaps() == []


def test_patroni_drops_a_slot_that_it_does_not_know_and_the_loss_is_said(servers: ExitStack) -> None:
    place = servers.enter_context(patroni_cluster())
    trail = pipeline(servers, place)
    primary = place.primary()

    def forget() -> None:
        primary.restart_manager()
        until(lambda: not primary.has_slot(SLOT), why=primary.said)

    def promote() -> None:
        standby = place.standby_of(primary)
        place.switch_over(primary, standby)
        trail.source = standby

    loses_exactly_what_it_says(trail, forget, "the replication slot is gone")
    loses_exactly_what_it_says(trail, promote, "was promoted to timeline 2 and has no replication slot")


def loses_exactly_what_it_says(trail: LoadPipeline, lose: Callable[[], None], reason: str) -> None:
    trail.write(5)
    trail.run()
    logged, ended = trail.logged(), trail.checkpoint()
    trail.write(3)
    lost = trail.source.one("SELECT max(n) FROM load")
    last = trail.source.one("SELECT pg_current_wal_lsn() - '0/0'")
    lose()
    with pytest.raises(LostHistory, match=rf"{reason}.*; the log ends at {format_lsn(ended)} "):
        trail.run()
    trail.run(trail.config._replace(accept_gap=True))
    trail.write(2)
    trail.run()
    assert trail.logged() == [*logged, lost + 1, lost + 2]
    (end,) = [parse_lsn(gap["to_lsn"]) for gap in trail.gaps() if parse_lsn(gap["from_lsn"]) == ended]
    assert end >= last
