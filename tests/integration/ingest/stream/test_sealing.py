"""A worker that seals, and that is killed, has written each change once, with a chain that holds."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from bemi_django.seals.findings import ChainReport
from bemi_django.seals.verify import snapshot, verify_over
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until


@pytest.fixture
def sealed(trail: LoadPipeline) -> Iterator[LoadPipeline]:
    trail.config = trail.config._replace(is_sealed=True)
    trail.run()
    yield trail
    trail.log.run("TRUNCATE _bemi.links, _bemi.chains")


def verified(trail: LoadPipeline) -> ChainReport:
    with closing(psycopg2.connect(**trail.log.parameters)) as connection:
        connection.autocommit = True
        report = verify_over(connection, (), lambda what, part: None, snapshot)
    assert list(map(str, report.findings)) == []
    return report


def changes(trail: LoadPipeline) -> Any:
    return trail.log.one("SELECT count(*) FROM changes")


def test_a_worker_that_is_killed_leaves_a_chain_that_holds(
    sealed: LoadPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMPER_EVIDENCE", "1")
    moment = random.Random()
    with sealed.load():
        for _ in range(3):
            with sealed.command() as worker:
                worker.says("reading the slot")
                count = len(sealed.logged()) + moment.randrange(100)
                until(lambda: len(sealed.logged()) >= count)  # noqa: B023
                worker.send(signal.SIGKILL)
    sealed.run()
    sealed.check()
    assert verified(sealed).changes == changes(sealed)


def test_a_gap_is_sealed_like_any_change(sealed: LoadPipeline) -> None:
    sealed.write(2)
    sealed.run()
    sealed.source.run(f"SELECT pg_drop_replication_slot('{sealed.slot}')")
    sealed.write(2)
    sealed.run(sealed.config._replace(accept_gap=True))
    sealed.write(2)
    sealed.run()
    assert len(sealed.gaps()) == 1
    assert verified(sealed).changes == changes(sealed)
    sealed.log.run("DELETE FROM changes WHERE operation = 'GAP'")
    with closing(psycopg2.connect(**sealed.log.parameters)) as connection:
        connection.autocommit = True
        found = verify_over(connection, (), lambda what, part: None, snapshot)
    assert [finding.kind for finding in found.findings] == ["removed"]


def test_a_gap_with_which_sealing_ends_is_none_of_the_inserted_changes(sealed: LoadPipeline) -> None:
    sealed.write(2)
    sealed.run()
    sealed.source.run(f"SELECT pg_drop_replication_slot('{sealed.slot}')")
    sealed.write(2)
    off = sealed.config._replace(is_sealed=False)
    sealed.run(off._replace(accept_gap=True))
    sealed.write(2)
    sealed.run(off)
    assert len(sealed.gaps()) == 1
    report = verified(sealed)
    assert (report.changes, report.unsealed) == (changes(sealed) - 2, 2)


def test_a_transaction_of_many_batches_is_sealed(sealed: LoadPipeline) -> None:
    sealed.source.run(
        "INSERT INTO load SELECT i + 100000, i, repeat('x', 500) FROM generate_series(1, 12000) i"
    )
    sealed.run()
    report = verified(sealed)
    assert report.changes == changes(sealed) == 12_000 and report.links > 3
