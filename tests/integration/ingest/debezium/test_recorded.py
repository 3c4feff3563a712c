"""What the engine has sent becomes what our own reader has made of the same WAL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bemi_django.ingest.debezium.reading.record import DEFAULT_MODES
from tests.integration.ingest.debezium.conftest import Consume
from tests.support.debezium_trail import DebeziumTrail
from tests.support.recorded_debezium import LOST, MODES, RECORDINGS, comparable, load


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_log_is_that_of_our_own_reader(
    records: DebeziumTrail, consume: Consume, tmp_path: Path, name: str
) -> None:
    recording = load(name)
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"\n".join(recording.lines_for(records)))
    written = records.consume(file, modes=MODES.get(name, DEFAULT_MODES))
    lost = LOST[name]
    logged = records.logged()
    assert [comparable(one, lost) for one in logged] == [comparable(one, lost) for one in recording.changes]
    assert written == len(logged)
    assert records.letters() == []


def test_recordings_have_every_kind_of_record() -> None:
    kinds = set()
    for line in (line for name in RECORDINGS for line in load(name).lines):
        value = json.loads(line)["value"] or {"tombstone": None}
        if value.keys() == {"schema", "payload"}:
            kinds.add("schema")
            value = value["payload"]
        kinds.add(value.get("op") or value.get("status") or " ".join(sorted(value)))
    # Rows of snapshots are made by hand.
    assert kinds == {*"cudtm", "BEGIN", "END", "schema", "tombstone", "ts_ms"}


def test_records_are_taken_once_wherever_they_are_cut(records: DebeziumTrail, consume: Consume) -> None:
    lines = load("plain").lines_for(records)
    consume(lines)
    whole = records.run(records.log, "SELECT id, context, before, after FROM changes ORDER BY id")
    records.empty()
    # In the middle of transactions, too.
    for end in (*range(7, len(lines), 13), len(lines), len(lines)):
        consume(lines[:end])
    cut = records.run(records.log, "SELECT id, context, before, after FROM changes ORDER BY id")
    assert [row[1:] for row in cut] == [row[1:] for row in whole]
    assert len({row[0] for row in cut}) == len(whole)


def test_what_the_connector_sends_again_after_a_restart_is_left_out(
    records: DebeziumTrail, consume: Consume
) -> None:
    lines = load("plain").lines_for(records)
    consume(lines)
    whole = records.logged()
    records.empty()
    repeated: list[bytes] = []
    for at in range(0, len(lines), 6):
        # Heartbeats do not come again.
        repeated += [line for line in lines[max(0, at - 11) : at] if b"heartbeat" not in line]
        repeated += lines[at : at + 6]
    consume(repeated)
    assert [comparable(one, set()) for one in records.logged()] == [comparable(one, set()) for one in whole]
