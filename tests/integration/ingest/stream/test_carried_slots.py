"""A standby is promoted whose slot was kept by a tool, as before PostgreSQL 17."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.support.carried_slot import advance_slot, copy_slot, create_slot, wait_until_replayed
from tests.support.cluster import Cluster
from tests.support.load_pipeline import LoadPipeline, load_cluster
from tests.support.polling import until
from tests.support.standby import follow_by_itself

IS_LONG = "BEMI_PROMOTIONS" in os.environ
#: How often the standby is promoted, and replaced by a new one.
PROMOTIONS = max(int(os.environ.get("BEMI_PROMOTIONS", "1")) // 4, 1)
SLOT = "bemi_carried"
#: The first version whose standbys can create logical slots.
_CREATES = 160000
_VERSION = "SELECT current_setting('server_version_num')::int"

Carry = Callable[[Cluster, Cluster, str], None]


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def record(servers: ExitStack, *, is_log_in_source: bool) -> LoadPipeline:
    """Return a pipeline whose slot PostgreSQL does not synchronise."""
    source = servers.enter_context(closing(load_cluster()))
    log = source if is_log_in_source else servers.enter_context(closing(load_cluster(wal_level="replica")))
    trail = LoadPipeline(source, log, SLOT)
    trail.config = trail.config._replace(failover=False)
    trail.run()
    return trail


def carry_slot(primary: Cluster, standby: Cluster, slot: str) -> None:
    """Create the slot, or copy it where standbys cannot create it."""
    carry = create_slot if primary.one(_VERSION) >= _CREATES else copy_slot
    carry(primary, standby, slot)


@pytest.mark.parametrize("is_log_in_source", [False, True] if IS_LONG else [False])
@pytest.mark.parametrize("carry", [copy_slot, create_slot] if IS_LONG else [carry_slot])
def test_a_slot_behind_the_primary_is_enough(
    servers: ExitStack, carry: Carry, is_log_in_source: bool
) -> None:
    """Patroni copies slots and moves them every ten seconds; pg_failover_slots creates and moves them."""
    trail = record(servers, is_log_in_source=is_log_in_source)
    if carry is create_slot and trail.source.one(_VERSION) < _CREATES:
        pytest.skip("standbys can create logical slots from PostgreSQL 16 on")
    for _ in range(PROMOTIONS):
        standby = servers.enter_context(closing(follow_by_itself(trail.source)))
        with trail.worker():
            with trail.load():
                wait_for_more(trail)
                carry(trail.source, standby, SLOT)
                wait_for_more(trail)
                advance_slot(trail.source, standby, SLOT)
                wait_for_more(trail)
            # Nothing is lost that was written: of what is, test_failover.py tells.
            trail.catch_up()
            wait_until_replayed(trail.source, standby)
            trail.source.stop(is_crash=True)
        promote(trail, standby)
        trail.write(3)
        trail.run()
        trail.check()
    assert trail.gaps() == []
    assert trail.log.one("SELECT count(*) FROM changes WHERE diverged") == 0
    assert trail.log.one("SELECT count(*) FROM _bemi.histories") == 1 + PROMOTIONS


def wait_for_more(trail: LoadPipeline) -> None:
    """Wait until the worker has written more, so that the primary's slot goes on."""
    written, confirmed = len(trail.logged()), trail.confirmed()
    until(lambda: len(trail.logged()) > written + 20 and trail.confirmed() > confirmed)


def promote(trail: LoadPipeline, standby: Cluster) -> None:
    """Promote a standby, and let the worker find it at its own address."""
    standby.promote()
    address = {"port": standby.parameters["port"]}
    trail.config = trail.config._replace(source={**trail.config.source, **address})
    if trail.log is trail.source:
        trail.config = trail.config._replace(destination={**trail.config.destination, **address})
        trail.log = standby
    trail.source = standby
