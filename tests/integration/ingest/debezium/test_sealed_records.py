"""What is made of records is sealed, wherever a consumer stops, as what a slot sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.seals.findings import ChainReport
from bemi_django.seals.verify import snapshot, verify_over
from tests.support.debezium_envelopes import Envelopes
from tests.support.debezium_trail import DebeziumTrail
from tests.support.recorded_debezium import load

_VALUES = 'id, operation, primary_key, before, after, context, "table"'
_CHAINS = "SELECT name, is_open FROM _bemi.chains ORDER BY name"

Seal = Callable[..., int]


@pytest.fixture
def seal(records: DebeziumTrail, tmp_path: Path) -> Seal:
    """Write lines, and seal them."""

    def seal(lines: Sequence[bytes], *, is_sealed: bool = True) -> int:
        file = tmp_path / "records.jsonl"
        file.write_bytes(b"\n".join(lines))
        consumer = records.consumer(RecordSource(RecordFiles([str(file)])), is_sealed=is_sealed)
        return consumer.run(until_current=True)

    return seal


def verified(records: DebeziumTrail) -> ChainReport:
    parameters = {**records.cluster.parameters, "dbname": records.log}
    with closing(psycopg2.connect(**parameters)) as connection:
        connection.autocommit = True
        return verify_over(connection, (), lambda what, part: None, snapshot)


def written(records: DebeziumTrail) -> list[tuple[object, ...]]:
    return records.run(records.log, f"SELECT {_VALUES} FROM changes ORDER BY id")  # noqa: S608


def test_everything_is_sealed_once_wherever_a_consumer_stops(records: DebeziumTrail, seal: Seal) -> None:
    lines = load("plain").lines_for(records)
    seal(lines, is_sealed=False)
    plain = written(records)
    records.empty()
    for end in (*range(29, len(lines), 60), len(lines), len(lines)):
        seal(lines[:end])
    assert [row[1:] for row in written(records)] == [row[1:] for row in plain]
    report = verified(records)
    assert list(map(str, report.findings)) == []
    assert (report.changes, report.unsealed) == (len(plain), 0)
    records.run(records.log, "UPDATE changes SET context = '{}' WHERE operation = 'DELETE'")
    records.run(records.log, "DELETE FROM changes WHERE operation = 'TRUNCATE'")
    kinds = {finding.kind for finding in verified(records).findings}
    assert kinds == {"edited", "removed"}


def test_sealing_begins_and_ends_with_the_setting(records: DebeziumTrail, seal: Seal) -> None:
    lines = [
        Envelopes(700 + number, 1000 * number).change("c", "pairs", after={"a": number, "b": "b", "n": 1})
        for number in range(1, 5)
    ]
    seal(lines[:1], is_sealed=False)
    seal(lines[:3])
    assert records.run(records.log, _CHAINS) == [("bemi_debezium.0", True)]
    seal(lines, is_sealed=False)
    assert records.run(records.log, _CHAINS) == [("bemi_debezium.0", False)]
    report = verified(records)
    assert list(map(str, report.findings)) == []
    # What is older than the chain is not counted.
    assert (report.changes, report.unsealed) == (2, 1)
