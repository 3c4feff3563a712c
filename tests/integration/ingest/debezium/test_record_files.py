"""Records from files: in order, once, and never lost without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.exceptions import BemiError, ReplicationError
from tests.integration.ingest.debezium.conftest import Consume
from tests.support.command import Command
from tests.support.debezium_envelopes import Envelopes
from tests.support.debezium_trail import DebeziumTrail
from tests.support.roles import WORKER, address


def pair(number: int) -> dict[str, object]:
    return {"a": number, "b": "b", "n": number}


def numbers(records: DebeziumTrail) -> list[int]:
    return [json.loads(one.after)["n"] for one in records.logged()]


def test_a_context_is_given_to_the_rows_of_its_statement_over_the_border_of_files(
    records: DebeziumTrail, tmp_path: Path
) -> None:
    oid = records.oids()["pairs"]
    one = Envelopes(700)
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(one.message(f'{oid}{{"user": 1}}'.encode()) + b"\n")
    second.write_bytes(
        one.change("c", "pairs", after=pair(1)) + b"\n" + one.message(f'{oid}{{"user": 2}}'.encode()) + b"\n"
    )
    assert records.consume(first) == 0
    with pytest.raises(ReplicationError, match="give the file where it begins"):
        records.consume(second)
    third = tmp_path / "3"
    third.write_bytes(one.change("c", "pairs", after=pair(2)))
    assert records.consume(first, second, third) == 2
    assert [json.loads(change.context) for change in records.logged()] == [{"user": 1}, {"user": 2}]


_DESCRIBED = """
INSERT INTO _bemi.relations (relation, since, ended, description)
SELECT relation, '0/100', '0/1000', jsonb_set(description, '{name}', '["public", "pairs"]')
FROM _bemi.describe_v1(ARRAY['former'::regclass::oid]) RETURNING relation::bigint
"""


def test_rows_are_of_the_table_that_had_the_name_when_they_were_written(
    records: DebeziumTrail, consume: Consume
) -> None:
    records.run(records.source, "CREATE TABLE former (id text PRIMARY KEY, n int)")
    ((gone,),) = records.run(records.source, _DESCRIBED)
    records.run(records.source, "DROP TABLE former")
    oid = records.oids()["pairs"]
    one, other = Envelopes(700), Envelopes(701, 8000)
    try:
        consume(
            [
                one.message(f'{gone}{{"user": 1}}'.encode()),
                one.change("u", "pairs", {"id": "1", "n": 0}, {"id": "1", "n": 1}),
                other.message(f'{oid}{{"user": 2}}'.encode()),
                other.change("c", "pairs", after=pair(2)),
            ]
        )
    finally:
        records.run(records.source, "TRUNCATE _bemi.relations")
    assert [list(map(json.loads, (one.context, one.before, one.after))) for one in records.logged()] == [
        [{"user": 1}, {"id": "1", "n": 0}, {"id": "1", "n": 1}],
        [{"user": 2}, {}, pair(2)],
    ]


#: The table was in public until 0/1000, and is in another schema since.
_MOVED = """
INSERT INTO _bemi.relations (relation, since, description)
SELECT relation, since::pg_lsn, jsonb_set(description, '{name}', jsonb_build_array(schema, 'moved'))
FROM _bemi.describe_v1(ARRAY['archived.moved'::regclass::oid]),
    (VALUES ('0/100', 'public'), ('0/1000', 'archived')) past (since, schema) RETURNING relation::bigint
"""


def test_rows_of_a_table_that_was_moved_to_another_schema_keep_their_context(
    records: DebeziumTrail, consume: Consume
) -> None:
    records.run(records.source, "CREATE SCHEMA archived; CREATE TABLE archived.moved (id text PRIMARY KEY)")
    try:
        (oid, *_), *_ = records.run(records.source, _MOVED)
        one, other = Envelopes(700), Envelopes(701, 8000)
        consume(
            [
                one.message(f'{oid}{{"user": 1}}'.encode()),
                one.change("c", "moved", after={"id": "1"}),
                other.message(f'{oid}{{"user": 2}}'.encode()),
                other.change("c", "moved", after={"id": "2"}, schema="archived"),
            ]
        )
    finally:
        records.run(records.source, "TRUNCATE _bemi.relations; DROP SCHEMA archived CASCADE")
    found = [(one.key, json.loads(one.context)) for one in records.logged()]
    assert found == [("1", {"user": 1}), ("2", {"user": 2})]
    assert records.letters() == []


#: Records that cannot be taken, and a part of the reason.
_UNREADABLE = [
    (b"{", "not JSON"),
    (b"[" * 100_000, "nested too deeply"),
    (b'"text"', "not an object"),
    (b'{"op": "c"}', "without source"),
    (b'{"id": 1, "task": "flattened"}', "neither op nor source"),
    (Envelopes(701).change("x", "pairs"), "operation that is not known"),
    (Envelopes(701).change("c", "pairs"), "without its values"),
    (Envelopes(701).change("d", "pairs"), "without its key"),
    (Envelopes(701).change("c", "pairs", after=[1]), "after is not an object"),
    (Envelopes(701).change("c", "pairs", after=pair(5), sequence="[]"), "sequence"),
    (Envelopes(701).change("c", "pairs", after=pair(5), lsn=1 << 80), "lsn"),
    (Envelopes(701).change("c", "pairs", after=pair(5), txId="x"), "txId"),
    (Envelopes(701).change("c", "pairs", after=pair(5), ts_us=None, ts_ms=None), "ts_ms"),
    (Envelopes(701).message("%%%"), "base64"),
    (Envelopes(701).message(b"", prefix="a\0b"), "prefix"),
]


def test_records_that_cannot_be_taken_are_dead_letters(
    records: DebeziumTrail, consume: Consume, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = Envelopes(700), Envelopes(702, 2000)
    unreadable = [line for line, _ in _UNREADABLE]
    consume([one.change("c", "pairs", after=pair(1)), *unreadable, two.change("c", "pairs", after=pair(2))])
    assert numbers(records) == [1, 2]
    letters = records.letters()
    assert len(letters) == len(_UNREADABLE)
    assert f"{len(letters)} records could not be taken" in caplog.text
    for (line, reason), (why, message) in zip(_UNREADABLE, letters, strict=True):
        assert reason in why
        # What a context holds may be masked.
        assert message == (b"" if b'"message"' in line else line)


def test_a_value_that_cannot_be_taken_is_left_out_of_its_row(
    records: DebeziumTrail, consume: Consume
) -> None:
    one = Envelopes()
    values = {
        "id": 1,
        "n": "!!",
        "by": "AQ=",
        "i4": [],
        "d": 1 << 70,
        "ts": "soon",
        "u": "\ud800",
        "t": "kept",
    }
    consume([one.change("c", "kinds", after=values)])
    (change,) = records.logged()
    assert json.loads(change.after) == {"id": 1, "t": "kept", "d": "infinity"}
    ((reason, _),) = records.letters()
    for name in ("n", "by", "i4", "ts", "u"):
        assert f"after.{name}: " in reason


def test_the_last_deletion_of_complete_files_is_written(
    records: DebeziumTrail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(Envelopes().change("d", "pairs", before=pair(1)))
    assert records.consume(file) == 0
    assert "the last deletion is not in the log yet" in caplog.text
    assert records.consume(file, complete=True) == 1
    assert records.consume(file, complete=True) == 0
    assert [change.operation for change in records.logged()] == ["DELETE"]


def test_records_of_another_database_are_refused(records: DebeziumTrail, consume: Consume) -> None:
    with pytest.raises(ReplicationError, match="record of the database other"):
        consume([Envelopes(database="other").change("c", "pairs", after=pair(1))])


def test_files_in_the_wrong_order_are_refused(records: DebeziumTrail, consume: Consume) -> None:
    early, first, late = Envelopes(700, 1000), Envelopes(701, 2000), Envelopes(702, 3000)
    with pytest.raises(ReplicationError, match="comes after later ones"):
        consume(
            [
                early.change("c", "pairs", after=pair(1)),
                late.change("c", "pairs", after=pair(3)),
                first.change("c", "pairs", after=pair(2)),
            ]
        )


def test_a_log_of_a_slot_is_refused(records: DebeziumTrail, consume: Consume) -> None:
    records.run(
        records.log,
        "INSERT INTO _bemi.checkpoint (slot, lsn, committed_at, start_lsn, start_xid, system_identifier, "
        "timeline, publication, database, is_local) "
        "VALUES ('bemi_debezium', '0/1', now(), '0/1', 1, '1', 1, 0, 0, false)",
    )
    with pytest.raises(ReplicationError, match="written by 'bemi run'"):
        consume([Envelopes().change("c", "pairs", after=pair(1))])


def test_a_table_that_nobody_knows_is_recorded_by_its_values(
    records: DebeziumTrail, consume: Consume
) -> None:
    values = {"id": 1, "text": "é", "yes": True, "more": {"a": [1.50]}, "none": None}
    consume([Envelopes().change("c", "gone", after=values)])
    (change,) = records.logged()
    assert (change.table, change.operation) == ("gone", "CREATE")
    assert json.loads(change.after) == values
    assert records.letters() == []


def test_rows_of_a_snapshot_are_a_baseline(records: DebeziumTrail, consume: Consume) -> None:
    snapshot, one = Envelopes(600, None), Envelopes(700, None, lsn=2000)
    consume(
        [
            snapshot.change("r", "pairs", after=pair(1), snapshot="first", step=0),
            snapshot.change("r", "pairs", after=pair(2), snapshot="last", step=0),
            one.change("u", "pairs", pair(2), {**pair(2), "n": 3}),
        ]
    )
    assert [change.operation for change in records.logged()] == ["BASELINE", "BASELINE", "UPDATE"]
    assert numbers(records) == [1, 2, 3]
    # A worker would have to take others.
    with pytest.raises(BemiError, match="let its connector take a snapshot"):
        list(baseline(records.config(), BaselineOptions()))


def test_a_connector_that_has_lost_its_offsets_goes_on(records: DebeziumTrail, consume: Consume) -> None:
    def transactions(*, known: bool) -> list[bytes]:
        first = Envelopes(700, 1000 if known else None, lsn=1100)
        return [
            first.change("c", "pairs", after=pair(1)),
            Envelopes(701, 1200).change("c", "pairs", after=pair(2)),
        ]

    consume(transactions(known=True))
    consume(
        [
            *transactions(known=True),
            *transactions(known=False),
            Envelopes(702, 1400).change("c", "pairs", after=pair(3)),
        ]
    )
    assert numbers(records) == [1, 2, 3]


def test_masked_values_are_not_kept_in_letters(records: DebeziumTrail, consume: Consume) -> None:
    secret = Envelopes().change("c", "gone", after={"password": "row-value"}, lsn="none")
    consume([Envelopes().change("c", "pairs", after=pair(1)), secret])
    ((_, message),) = records.letters()
    assert message == b""


def test_the_command_reads_files_seals_them_and_writes_anchors(
    records: DebeziumTrail, tmp_path: Path
) -> None:
    file, anchored = tmp_path / "records.jsonl", tmp_path / "anchors.jsonl"
    file.write_bytes(Envelopes().change("c", "pairs", after=pair(1)))
    url = records.cluster.server.url
    source, log = (
        address(url, WORKER).rpartition("/")[0] + f"/{name}" for name in (records.source, records.log)
    )
    arguments = "bemi", "consume", "--format", "debezium", str(file)
    sealing = {"TAMPER_EVIDENCE": "1", "ANCHORS": str(anchored)}
    with Command(*arguments, source=source, log=log, slot="bemi_debezium", **sealing) as command:
        assert command.ends() == 0 and "1 changes written" in command.out, command.errors
    assert numbers(records) == [1]
    assert "bemi_debezium.0" in anchored.read_text()
