"""Masked values in Debezium's records reach neither the log, nor its dead letters, nor what is logged."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.masking.settings import rules_of
from tests.support.debezium_envelopes import Envelopes
from tests.support.debezium_trail import DebeziumTrail

_MASK = {"loose.b": "drop", "pairs.b": "hash"}
_TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, '_bemi'::regnamespace)
"""


def _row(number: int, secret: str) -> dict[str, object]:
    return {"a": number, "b": f"sesame-{secret}"}


def _forms(text: str) -> list[str]:
    encoded = base64.b64encode(text.encode()).decode().rstrip("=")
    return [text, text.encode().hex(), encoded[:-1]]


def test_no_secret_of_records_is_stored_or_logged(
    records: DebeziumTrail, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    oid = records.oids()["loose"]
    one = Envelopes()
    context = {
        "user": 7,
        "token": "sesame-context",
        "SQL": "INSERT INTO loose VALUES (1, 'sesame-sql')",
        "deep": [{"apiKey": "sesame-nested"}],
    }
    lines = [
        one.message(f"{oid}{json.dumps(context)}".encode()),
        one.change("c", "loose", after=_row(1, "created")),
        one.change("u", "loose", before=_row(1, "before"), after=_row(1, "after")),
        one.change("d", "loose", before=_row(1, "deleted")),
        one.change("c", "pairs", after={**_row(1, "key"), "n": 1}),
        # What cannot be read.
        one.change("c", "loose", after={"a": "sesame-number", "b": "sesame-beside"}),
        one.change("c", "loose", after={"a": 1, "b": {"sesame-object": 1}}),
        one.change("c", "loose", after=["sesame-list"]),
        one.change("c", "gone", after={"password": "sesame-gone"}, lsn="none"),
        one.change("c", "loose", after=_row(2, "position"), lsn="none"),
        one.change("c", "loose", after={"a": 3, "b": "sesame-nul\0"}),
        one.message(f'{oid}{{"token": "sesame-cut'.encode()),
        one.end(),
    ]
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"\n".join(lines))
    source = RecordSource(RecordFiles([str(file)]))
    masking = rules_of(_MASK, "a key of more than 16 bytes")
    written = records.consumer(source, masking=masking).run(until_current=True)
    assert written >= 4
    found = {"what was logged": caplog.text + str([record.__dict__ for record in caplog.records])}
    for (table,) in records.run(records.log, _TABLES):
        rows = records.run(records.log, f"SELECT t::text FROM {table} t")  # noqa: S608 - of the catalog
        found[table] = "\n".join(row for (row,) in rows)
    letters = b"\n".join(message for _, message in records.letters())
    found["letters"] = letters.decode("utf-8", "replace")
    assert [(place, form) for place, text in found.items() for form in _forms("sesame") if form in text] == []
    assert records.letters()
