"""A transaction that the server cannot send is recognised, and an operator can leave it out."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from typing import Any

import pytest

from bemi_django.exceptions import ReplicationError, SlotInUse, Unsendable
from bemi_django.ingest.loop.skipping import skip
from bemi_django.wire.lsn import format_lsn, parse_lsn
from tests.support.command import Command
from tests.support.load_pipeline import LoadPipeline
from tests.support.pipeline import QUICK
from tests.support.polling import DEADLINE, until
from tests.support.roles import WORKER, address

#: A type whose values can be written and not printed: the server fails when it is to send them.
UNPRINTABLE = """
CREATE TYPE unprintable;
CREATE FUNCTION unprintable_in(cstring) RETURNS unprintable LANGUAGE internal IMMUTABLE AS 'textin';
CREATE FUNCTION unprintable_out(unprintable) RETURNS cstring LANGUAGE internal IMMUTABLE
    AS 'trigger_out';
CREATE TYPE unprintable (INPUT = unprintable_in, OUTPUT = unprintable_out, LIKE = text);
CREATE TABLE locked (id int PRIMARY KEY, body unprintable);
ALTER TABLE locked REPLICA IDENTITY FULL;
ALTER PUBLICATION bemi ADD TABLE locked;
"""
REASON = "cannot display a value of type trigger"


@pytest.fixture
def locked(trail: LoadPipeline) -> Iterator[LoadPipeline]:
    trail.source.run(UNPRINTABLE)
    yield trail
    trail.source.run("DROP TABLE locked; DROP TYPE unprintable CASCADE")


def lock(trail: LoadPipeline) -> int:
    """Commit a transaction that cannot be sent; return its id."""
    return int(
        trail.source.one(
            "WITH locked AS (INSERT INTO locked VALUES (1, 'x')), load AS (INSERT INTO load VALUES (-1, -1)) "
            "SELECT txid_current()"
        )
    )


def fail(trail: LoadPipeline) -> Unsendable:
    with pytest.raises(Unsendable) as raised:
        trail.run()
    trail.release()
    return raised.value


def gaps(trail: LoadPipeline) -> list[tuple[Any, ...]]:
    return trail.log.run(
        "SELECT context, transaction_id, position FROM changes WHERE operation = 'GAP' ORDER BY id"
    )


def test_exactly_the_transaction_that_the_error_names_is_left_out(locked: LoadPipeline) -> None:
    locked.write(2)
    xid = lock(locked)
    locked.source.run("DELETE FROM load WHERE id = -1")
    locked.write(2)
    error = fail(locked)
    # What committed before it is written.
    assert locked.logged() == [1, 2]
    assert error.is_stuck and error.lsn is not None
    lsn = format_lsn(error.lsn)
    assert str(error) == (
        f"the server cannot send the transaction that commits at {lsn} ({REASON}, 3 attempts) and keeps all "
        f"WAL from there on: raise its memory, or run 'manage.py bemi skip {lsn}' to leave the transaction "
        "out of the log, as a gap"
    )
    assert locked.log.one("SELECT trouble FROM _bemi.checkpoint") == str(error)
    skipped = skip(locked.config, error.lsn, QUICK)
    assert (skipped.last, skipped.xid) == (error.lsn, xid)
    ((context, transaction, position),) = gaps(locked)
    assert (transaction, position) == (xid, error.lsn)
    assert (context["to_lsn"], context["transaction_id"]) == (lsn, xid)
    locked.release()
    locked.run()
    assert locked.logged() == [1, 2, 3, 4]
    assert locked.log.one("SELECT trouble FROM _bemi.checkpoint") is None
    order = locked.log.run("SELECT operation FROM changes ORDER BY id")
    assert [operation for (operation,) in order] == ["CREATE", "CREATE", "GAP", "DELETE", "UPDATE", "CREATE"]
    assert len(gaps(locked)) == 1


def test_a_worker_that_is_stuck_says_so_and_goes_on_after_the_gap(
    locked: LoadPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    with locked.worker():
        locked.write()
        lock(locked)
        locked.source.run("DELETE FROM load WHERE id = -1")
        until(lambda: any("bemi skip" in line and "trying again" in line for line in caplog.messages))
        trouble = locked.log.one("SELECT trouble FROM _bemi.checkpoint")
    locked.release()
    skip(locked.config, parse_lsn(re.findall(r"bemi skip (\S+)'", trouble)[0]), QUICK)
    locked.release()
    with locked.worker():
        locked.catch_up()


@pytest.mark.parametrize("where", ["past", "between", "future"])
def test_a_position_where_nothing_commits_is_refused_and_nothing_is_lost(
    where: str, trail: LoadPipeline
) -> None:
    trail.write(2)
    if where == "past":
        trail.run()
    position = trail.source.one("SELECT pg_current_wal_insert_lsn() - '0/0'")
    lsn = {"past": 8, "between": int(position) - 8, "future": int(position) + (1 << 30)}[where]
    with pytest.raises(ReplicationError, match="nothing to skip|nothing was skipped"):
        skip(trail.config, lsn, QUICK)
    trail.release()
    trail.run()
    trail.check()
    assert gaps(trail) == []


def test_an_earlier_transaction_that_cannot_be_sent_comes_first(locked: LoadPipeline) -> None:
    lock(locked)
    locked.source.run("DELETE FROM load WHERE id = -1")
    lsn = fail(locked).lsn
    assert lsn is not None
    with pytest.raises(ReplicationError, match=f"run 'manage.py bemi skip {format_lsn(lsn)}'"):
        skip(locked.config, lsn + 64, QUICK)
    locked.release()
    assert gaps(locked) == []
    skip(locked.config, lsn, QUICK)


def test_a_slot_that_a_worker_reads_is_left_alone(trail: LoadPipeline) -> None:
    with trail.worker():
        trail.wait_until_read()
        with pytest.raises(SlotInUse):
            skip(trail.config, 1 << 40, QUICK)


@pytest.fixture
def filtered(trail: LoadPipeline) -> Iterator[LoadPipeline]:
    """A server that fails before it says which transaction it is about to send."""
    if trail.source.one("SHOW server_version_num") < "150000":
        pytest.skip("row filters came with PostgreSQL 15")
    trail.source.run("ALTER PUBLICATION bemi SET TABLE load WHERE (1 / id IS NOT NULL)")
    yield trail
    trail.source.run("ALTER PUBLICATION bemi SET TABLE load")


def test_where_the_transaction_is_not_known_the_gap_names_the_range(filtered: LoadPipeline) -> None:
    filtered.write(2)
    # A context would come first, and the transaction with it.
    filtered.source.run("ALTER TABLE load DISABLE TRIGGER _bemi_capture")
    filtered.source.run("INSERT INTO load VALUES (0, 0)")
    filtered.source.run("ALTER TABLE load ENABLE TRIGGER _bemi_capture")
    end = int(filtered.source.one("SELECT pg_current_wal_insert_lsn() - '0/0'"))
    filtered.write(1)
    error = fail(filtered)
    assert error.lsn is None and "manage.py bemi skip LSN" in str(error)
    assert filtered.logged() == [1, 2]
    skipped = skip(filtered.config, end - 1, QUICK)
    assert skipped.begin is None and skipped.last == end - 1
    ((context, transaction, _),) = gaps(filtered)
    assert transaction == 0 and "could not tell" in context["reason"]
    assert parse_lsn(context["from_lsn"]) == skipped.first
    filtered.release()
    filtered.run()
    assert filtered.logged() == [1, 2, 3]
    filtered.source.run("DELETE FROM load WHERE id = 0")


def test_the_command_says_what_it_has_left_out(locked: LoadPipeline) -> None:
    lock(locked)
    locked.source.run("DELETE FROM load WHERE id = -1")
    lsn = format_lsn(fail(locked).lsn or 0)
    with manage(locked, "skip", lsn, "--reason", "ticket 7") as command:
        assert (command.ends(DEADLINE), command.errors) == (0, "")
        assert f"which commits at {lsn}" in command.out
    ((context, _, position),) = gaps(locked)
    assert position == parse_lsn(lsn) and context["reason"].endswith("with 'bemi skip' (ticket 7)")
    assert (context["command"], context["arguments"]) == ("bemi skip", {"lsn": lsn})
    assert context["os_user"] == pwd.getpwuid(os.getuid()).pw_name
    assert context["database_role"] == WORKER
    with manage(locked, "skip", "nonsense") as command:
        assert command.ends(DEADLINE) != 0
        assert "'nonsense' is not an LSN" in command.errors


def manage(trail: LoadPipeline, *arguments: str) -> Command:
    source, log = (address(cluster.server.url, WORKER) for cluster in (trail.source, trail.log))
    return Command("bemi", *arguments, source=source, log=log, slot=trail.slot)
