"""Rows of transactions that the source does not show are not written beside tables that lack them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.ingest.debezium.source_transactions import SourceTransactions
from bemi_django.ingest.queue.consumer import Consumer
from tests.support.debezium_envelopes import Envelopes
from tests.support.debezium_trail import DebeziumTrail
from tests.support.polling import DEADLINE, until

#: A transaction that the source has not come to.
_LATER = 1_000_000_000
_NOT_THERE = f"does not have transaction {_LATER} of the records"

#: Returns what consumes lines into the log that is in the source.
Local = Callable[..., Consumer]


@pytest.fixture
def local(databases: DebeziumTrail, tmp_path: Path) -> Iterator[Local]:
    def consumer(*lines: bytes, accept_gap: bool = False) -> Consumer:
        file = tmp_path / "records.jsonl"
        file.write_bytes(b"\n".join(lines))
        source, log = RecordSource(RecordFiles([str(file)])), databases.parameters(databases.source)
        return databases.consumer(source, destination=log, accept_gap=accept_gap)

    databases.empty(databases.source)
    yield consumer
    databases.empty(databases.source)


def created(number: int, xid: int = _LATER) -> bytes:
    return Envelopes(xid, 1000 * number).change("c", "pairs", after={"a": number, "b": "b", "n": number})


def numbers(databases: DebeziumTrail) -> list[int]:
    return [json.loads(one.after)["n"] for one in databases.logged(databases.source)]


def test_transactions_that_the_source_never_shows_are_not_waited_for(
    databases: DebeziumTrail, local: Local
) -> None:
    ours = databases.run(databases.source, "SELECT pg_current_xact_id()::text::int")[0][0]
    lines = created(1, ours), created(2)
    with pytest.raises(ReplicationError, match=_NOT_THERE):
        local(*lines).run(until_current=True)
    assert numbers(databases) == []
    assert local(*lines, accept_gap=True).run(until_current=True) == 2
    (lost,) = databases.accepted
    assert _NOT_THERE in lost
    assert numbers(databases) == [1, 2]


def test_ddl_that_the_source_never_shows_is_not_waited_for(records: DebeziumTrail, tmp_path: Path) -> None:
    one, file = Envelopes(_LATER), tmp_path / "records.jsonl"
    lines = one.message(b"", "_bemi_ddl"), one.change("c", "pairs", after={"a": 1, "b": "b", "n": 1})
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(ReplicationError, match=_NOT_THERE):
        records.consume(file)
    assert records.logged() == []
    source = RecordSource(RecordFiles([str(file)]))
    assert records.consumer(source, accept_gap=True).run(until_current=True) == 1


def test_a_transaction_that_is_being_committed_is_waited_for(databases: DebeziumTrail, local: Local) -> None:
    with databases.session() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("BEGIN; SELECT pg_current_xact_id()::text::int")
        line = created(1, cursor.fetchone()[0])
        stopped = local(line)
        running = pool.submit(stopped.run)
        begun = "SELECT count(*) FROM _bemi.lanes"
        until(lambda: databases.run(databases.source, begun) == [(1,)])
        stopped.stop()
        assert running.result(DEADLINE) == 0
        assert numbers(databases) == []
        waiting = pool.submit(local(line).run)
        cursor.execute("COMMIT")
        assert waiting.result(DEADLINE) == 1
    assert numbers(databases) == [1]


def test_a_transaction_that_commits_between_two_questions_is_not_missed(databases: DebeziumTrail) -> None:
    with databases.session() as cursor, databases.session() as other:
        cursor.execute("BEGIN; SELECT pg_current_xact_id()::text::int")
        xid = cursor.fetchone()[0]

        class Committing:
            """A connection that commits the transaction before its second question."""

            asked = 0

            def cursor(self) -> Any:
                self.asked += 1
                if self.asked == 2:
                    cursor.execute("COMMIT")
                return other.connection.cursor()

        found = SourceTransactions(Committing(), lambda: True, None)
        assert found.are_shown({xid})
