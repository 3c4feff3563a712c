"""A log goes on where it has ended, whatever the connector and the source have done meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from tests.integration.ingest.debezium.conftest import Consume
from tests.support.debezium_envelopes import Envelopes
from tests.support.debezium_trail import DebeziumTrail

_LATER = 1_795_930_642_000_000


def created(one: Envelopes, *numbers: int) -> list[bytes]:
    """Return the insertions of rows."""
    return [one.change("c", "pairs", after={"a": number, "b": "b", "n": number}) for number in numbers]


def numbers(records: DebeziumTrail) -> list[int]:
    return [json.loads(one.after)["n"] for one in records.logged()]


def test_a_log_does_not_begin_with_a_record_of_another_database(
    records: DebeziumTrail, consume: Consume
) -> None:
    with pytest.raises(ReplicationError, match="record of the database other"):
        consume(created(Envelopes(900, 90_000, database="other"), 9))
    assert consume([*created(Envelopes(700, 1000), 1), *created(Envelopes(701, 2000), 2)]) == 2
    with pytest.raises(ReplicationError, match="record of the database other"):
        consume([Envelopes(900, 90_000, database="other").message(b"", "alone", txId=None)])
    assert numbers(records) == [1, 2]


def test_a_transaction_after_rows_of_an_incremental_snapshot_is_written_whole(
    records: DebeziumTrail, consume: Consume
) -> None:
    one, snapshot, two = Envelopes(700, 1000), Envelopes(700, 1152), Envelopes(701, 1152)
    row = {"a": 50, "b": "b", "n": 50}
    read = snapshot.change("r", "pairs", after=row, snapshot="incremental", ts_us=_LATER)
    first, second, third = created(two, 2, 3, 4)
    consume([*created(one, 1), one.end(), read, first, second])
    consume([first, second, third, two.end(), *created(Envelopes(702, 2000), 5)])
    assert numbers(records) == [1, 50, 2, 3, 4, 5]


def test_a_record_that_could_not_be_taken_is_one_letter_however_often_its_transaction_is_read(
    records: DebeziumTrail, consume: Consume
) -> None:
    one = Envelopes(700, 1000)
    (first,) = created(one, 1)
    bad = one.change("x", "pairs", after={"n": 9})
    (second,) = created(one, 2)
    other = one.change("x", "pairs", after={"n": 8})
    for lines in ([first, bad], [first, bad], [first, bad, second, bad, other], [first, bad, second, bad]):
        consume(lines)
    assert [message for _, message in records.letters()] == [bad, bad, other]
    consume([first, bad, second, bad, other, one.end(), *created(Envelopes(701, 2000), 3)])
    assert numbers(records) == [1, 2, 3] and len(records.letters()) == 3


def test_offsets_may_be_lost_within_a_transaction(records: DebeziumTrail, consume: Consume) -> None:
    known, lost = Envelopes(700, 1000), Envelopes(700, None, lsn=1100)
    consume(
        [*created(known, 1, 2), *created(lost, 1, 2, 3, 4), *created(Envelopes(702, 3000), 5)],
    )
    assert numbers(records) == [1, 2, 3, 4, 5]


def test_transactions_of_wal_that_has_gone_back_are_dead_letters(
    records: DebeziumTrail, consume: Consume
) -> None:
    taken = [*created(Envelopes(700, 5000), 1), *created(Envelopes(701, 6000), 2)]
    consume(taken)
    late = Envelopes(720, 3000).change("c", "pairs", after={"n": 3}, ts_us=_LATER)
    consume([*taken, late])
    assert numbers(records) == [1, 2]
    ((reason, message),) = records.letters()
    assert "has gone back" in reason
    assert message == late


def test_a_promotion_of_the_source_is_not_passed_over(
    records: DebeziumTrail, consume: Consume, tmp_path: Path
) -> None:
    consume(created(Envelopes(700, 1000), 1))
    records.run(records.log, "UPDATE _bemi.checkpoint SET timeline = 99")
    lines = created(Envelopes(701, 2000), 2)
    with pytest.raises(ReplicationError, match="run with --accept-gap"):
        consume(lines)
    file = tmp_path / "lines"
    file.write_bytes(lines[0])
    records.consumer(RecordSource(RecordFiles([str(file)])), accept_gap=True).run(until_current=True)
    (lost,) = records.accepted
    assert "promoted or restored" in lost
    assert consume(lines) == 0
    assert numbers(records) == [1, 2]


def test_flattened_records_are_not_passed_over(records: DebeziumTrail, consume: Consume) -> None:
    flattened = [json.dumps({"id": number, "task": "x"}).encode() for number in range(3)]
    with pytest.raises(ReplicationError, match="no record of Debezium: .*neither op nor source"):
        consume(flattened)
    consume([*flattened, *created(Envelopes(700, 1000), 1)])
    assert numbers(records) == [1]
    assert len(records.letters()) == 3


def test_what_is_not_debeziums_is_not_held_without_limit(records: DebeziumTrail, consume: Consume) -> None:
    with pytest.raises(ReplicationError, match="no record of Debezium"):
        consume([b"[]"] * 1001 + created(Envelopes(700, 1000), 1))
    assert records.logged() == []
