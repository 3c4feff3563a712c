"""The turn of a month: whoever reads the log meanwhile, the worker goes on recording."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from bemi_django.ingest.loop.intake.intake import Intake
from tests.support.cluster import transaction
from tests.support.load_pipeline import LoadPipeline
from tests.support.polling import until

TURN = datetime(2031, 2, 1, tzinfo=timezone.utc)
# The message Begin (PostgreSQL docs, Logical Replication Message Formats).
_BEGIN = struct.Struct("!cQqI")
MONTHS = """
SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'changes'::regclass ORDER BY 1
"""


def months(trail: LoadPipeline) -> list[str]:
    return [name for (name,) in trail.log.run(MONTHS)]


def drop_months(trail: LoadPipeline) -> None:
    for name in months(trail):
        trail.log.run(f"DROP TABLE {name}")


def wait_for_more(trail: LoadPipeline) -> None:
    count = len(trail.logged())
    until(lambda: len(trail.logged()) > count + 20)


@pytest.fixture
def clock(trail: LoadPipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[datetime], None]]:
    """Set the clock by which the source's transactions are committed, as the worker sees it."""
    shift = timedelta()
    take = Intake.take

    def shifted(self: Intake, data: bytes, *place: int) -> None:
        if data[:1] == b"B":
            kind, lsn, committed_at, xid = _BEGIN.unpack(data)
            data = _BEGIN.pack(kind, lsn, committed_at + shift // timedelta(microseconds=1), xid)
        take(self, data, *place)

    def set_to(moment: datetime) -> None:
        nonlocal shift
        shift = moment - datetime.now(timezone.utc)

    monkeypatch.setattr(Intake, "take", shifted)
    yield set_to
    drop_months(trail)
    trail.log.run("SELECT _bemi.partition_v1(now()), _bemi.partition_v1(now() + interval '1 month')")


READERS = {
    "a report": "SELECT count(*) FROM changes",
    "pg_dump": "LOCK TABLE changes IN ACCESS SHARE MODE",
    "a writer": "UPDATE changes SET diverged = false",
    "a row lock": "SELECT FROM changes FOR UPDATE",
}


@pytest.mark.parametrize("statement", READERS.values(), ids=READERS)
def test_recording_goes_on_over_the_turn_of_a_month(
    trail: LoadPipeline, clock: Callable[[datetime], None], statement: str
) -> None:
    clock(TURN - timedelta(days=20))
    with trail.worker():
        trail.write()
        trail.catch_up()
        assert {"changes_2031_01", "changes_2031_02"} <= set(months(trail))
        with transaction(trail.log) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute(statement)
            with trail.load():
                # The reader stays until all is there: a worker that waited for it would never get on.
                for moment in (TURN - timedelta(seconds=1), TURN + timedelta(days=28)):
                    clock(moment)
                    wait_for_more(trail)
            trail.catch_up()
            assert {"changes_2031_03", "changes_2031_04"} <= set(months(trail))
            # Nor does anybody wait for the worker.
            with transaction(trail.log) as other:
                other.execute("SET LOCAL lock_timeout = '1s'; SELECT count(*) FROM changes")
    (found,) = trail.log.run("SELECT min(committed_at), max(committed_at) FROM changes")
    assert found[0] < TURN < found[1]


def test_a_locked_log_delays_only_the_next_month(
    trail: LoadPipeline, clock: Callable[[datetime], None], caplog: pytest.LogCaptureFixture
) -> None:
    trail.log.run("SELECT _bemi.partition_v1(%s)", [TURN])
    clock(TURN)
    with trail.worker():
        # What CREATE INDEX and ANALYZE take.
        with transaction(trail.log) as maintenance:
            maintenance.execute("LOCK TABLE ONLY changes IN SHARE UPDATE EXCLUSIVE MODE")
            trail.write(3)
            trail.catch_up()
            assert "changes_2031_03" not in months(trail)
            assert sum("next month will be created later" in line for line in caplog.messages) == 1
        trail.write()
        trail.catch_up()
        clock(TURN + timedelta(hours=2))
        trail.write()
        trail.catch_up()
        assert "changes_2031_03" in months(trail)
    assert not [line for line in caplog.messages if "trying again" in line]


@pytest.fixture
def elsewhere(trail: LoadPipeline) -> Iterator[str]:
    """Move the log, but none of its months, to another tablespace."""
    name = "elsewhere"
    trail.log.run("SET allow_in_place_tablespaces = on")
    trail.log.run(f"CREATE TABLESPACE {name} LOCATION ''")
    # The owner of the log may be no superuser.
    trail.log.run(f"GRANT CREATE ON TABLESPACE {name} TO PUBLIC")
    trail.log.run(f"ALTER TABLE changes SET TABLESPACE {name}")
    yield name
    trail.log.run("ALTER TABLE changes SET TABLESPACE pg_default")
    trail.log.run(f"ALTER TABLE ALL IN TABLESPACE {name} SET TABLESPACE pg_default")
    trail.log.run(f"DROP TABLESPACE {name}")


def test_a_month_that_was_dropped_is_made_again_where_the_log_is(trail: LoadPipeline, elsewhere: str) -> None:
    with trail.worker():
        trail.write()
        trail.catch_up()
        drop_months(trail)
        trail.write()
        until(trail.logged)
    assert trail.logged() == [2]
    places = """SELECT DISTINCT t.spcname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE i.inhparent = 'changes'::regclass"""
    assert trail.log.run(places) == [(elsewhere,)]


def test_a_gap_is_recorded_in_a_month_that_is_not_there(trail: LoadPipeline) -> None:
    trail.write()
    trail.run()
    drop_months(trail)
    trail.release()
    trail.source.run("SELECT pg_drop_replication_slot(%s)", [trail.slot])
    trail.run(trail.config._replace(accept_gap=True))
    assert len(trail.gaps()) == 1
    assert datetime.now(timezone.utc).strftime("changes_%Y_%m") in months(trail)


def test_the_log_is_installed_with_its_months(trail: LoadPipeline) -> None:
    now = datetime.now(timezone.utc)
    following = now.replace(day=1) + timedelta(days=32)
    assert {f"changes_{month:%Y_%m}" for month in (now, following)} <= set(months(trail))
    assert "changes_default" not in months(trail)
