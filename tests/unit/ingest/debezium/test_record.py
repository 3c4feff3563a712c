from __future__ import annotations

import json

import pytest

from bemi_django.ingest.debezium.reading.record import UnreadableRecord, read_line, read_value

_VALUE = {"op": "c", "source": {}}


@pytest.mark.parametrize(
    "line",
    [
        _VALUE,
        {"schema": {"fields": []}, "payload": _VALUE},
        {"key": None, "value": _VALUE, "topic": "bemi"},
        {"key": {"id": 1}, "value": {"schema": None, "payload": _VALUE}},
        {"topic": "bemi", "offset": 1, "key": "{}", "payload": json.dumps(_VALUE)},
        {"value": json.dumps({"schema": {}, "payload": _VALUE})},
    ],
)
def test_the_forms_of_a_line(line: object) -> None:
    assert read_line(json.dumps(line).encode()).value == _VALUE


@pytest.mark.parametrize(
    "line", [b"null", b'{"key": {"id": 1}, "value": null}', b'{"schema": null, "payload": null}']
)
def test_a_tombstone_says_nothing(line: bytes) -> None:
    assert read_line(line).value is None


def test_a_message_may_be_empty() -> None:
    assert read_value(b"", 7).value is None
    assert read_value(json.dumps(_VALUE).encode(), 7).number == 7


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[1]", b"1" * 5000, b"[" * 99999])
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        read_line(line)
