"""Whatever a record is, something comes of it: messages, a refusal, or that it was there before."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.debezium.followed import Outlets, Refusal
from bemi_django.ingest.debezium.order import CommitOrder, RecordedEnd
from bemi_django.ingest.debezium.printing.row_messages import RowMessages
from bemi_django.ingest.debezium.printing.source_tables import SourceTables
from bemi_django.ingest.debezium.printing.texts import Texts
from bemi_django.ingest.debezium.reading.record import DEFAULT_MODES, Modes, UnreadableRecord, read_line
from bemi_django.ingest.debezium.translation import Translator
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Begin, Commit, Delete, Insert, Message, Update
from bemi_django.wire.sequence import MAX_LSN
from tests.support.debezium_envelopes import Envelopes

_DESCRIPTION: dict[str, Any] = {"columns": {"a": 23, "b": 25}, "generated": []}
_PRICES: dict[str, Any] = {"columns": {"a": 1700, "l": 1231, "t": 25}, "generated": []}
_LOOSE: dict[str, Any] = {
    "columns": {"a": 23, "l": 1231, "t": 25, "b": 17, "m": 1009, "bs": 1001},
    "generated": [],
}
_TYPES = {
    17: ("bytea", "b", 0, -1, 0, None),
    1001: ("_bytea", "b", 0, -1, 17, ","),
    1009: ("_text", "b", 0, -1, 25, ","),
    23: ("int4", "b", 0, -1, 0, None),
    25: ("text", "b", 0, -1, 0, None),
    1231: ("_numeric", "b", 0, -1, 1700, ","),
    1700: ("numeric", "b", 0, -1, 0, None),
}
_OIDS = {"pairs": 4711, "prices": 4712, "loose": 4713}
_DESCRIPTIONS = {4711: _DESCRIPTION, 4712: _PRICES, 4713: _LOOSE}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def answers(query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    """Answer as a source that has one table, pairs."""
    if "relreplident" in query:
        name = parameters[1]
        return [(_OIDS[name], name != "loose", ["a"])] if name in _OIDS else []
    if "describe_v1" in query:
        return [(_DESCRIPTIONS[parameters[0]],)]
    if "atttypmod" in query:
        columns = _DESCRIPTIONS[parameters[0]]["columns"]
        return [(name, oid, -1) for name, oid in columns.items()]
    if "pg_type" in query:
        return [(oid, *_TYPES[oid]) for oid in parameters[0]]
    return []


class Translated:
    """What a translator has made of records."""

    def __init__(self, end: RecordedEnd | None = None, modes: Modes = DEFAULT_MODES) -> None:
        self.messages: list[Any] = []
        self.refused: list[Refusal] = []
        self._decoder = Decoder()
        self.translator = Translator(
            {"debezium"},
            None,
            CommitOrder(end or RecordedEnd(0, None, False)),
            RowMessages(SourceTables(answers), Texts(lambda query, value: value, modes)),
            Outlets(self._take, lambda row: None, self.refused.append),
        )

    def _take(self, data: bytes, lsn: int) -> None:
        found = self._decoder.decode(data)
        if found is not None:
            self.messages.append(found)

    def take(self, *lines: bytes) -> Translated:
        for line in lines:
            try:
                record = read_line(line)
            except UnreadableRecord as error:
                self.translator.refuse(line, str(error))
            else:
                self.translator.take(record)
        return self

    def kinds(self) -> list[type]:
        kept = Begin, Commit, Insert, Update, Delete, Message
        return [type(message) for message in self.messages if isinstance(message, kept)]


def test_a_deletion_and_an_insertion_at_one_place_are_an_update_of_the_key() -> None:
    one = Envelopes()
    lines = (
        one.change("d", "pairs", before={"a": 1, "b": "x"}),
        b"null",
        one.change("c", "pairs", after={"a": 2, "b": "x"}, lsn=one.lsn),
        one.change("d", "pairs", before={"a": 2, "b": "x"}),
        one.change("c", "pairs", after={"a": 2, "b": "x"}),
        one.end(),
    )
    found = Translated().take(*lines)
    assert found.kinds() == [Begin, Update, Delete, Insert, Commit]


@pytest.mark.parametrize(
    ("binaries", "unknown"),
    [("bytes", {1}), ("hex", {1, 5}), ("base64", {1, 3, 5}), ("base64-url-safe", {1, 3, 5})],
)
def test_null_may_stand_for_what_did_not_change(binaries: str, unknown: set[int]) -> None:
    row = {"a": 1, "l": None, "t": None, "b": None, "m": None, "bs": None}
    one = Envelopes()
    found = Translated(modes=Modes(binaries=binaries)).take(
        one.change("c", "loose", after=row),
        one.change("u", "loose", after=row),
        one.change("d", "loose", before={**row, "a": 1}),
        one.change("c", "loose", after={**row, "a": 2}, lsn=one.lsn),
        one.end(),
    )
    insertion, *updates = (each for each in found.messages if isinstance(each, (Insert, Update)))
    assert insertion.after == [b"1", None, None, None, None, None]
    assert len(updates) == 2
    for update in updates:
        assert {number for number, value in enumerate(update.after) if value is UNAVAILABLE} == unknown
    # The old row tells what there was.
    whole = {"a": "AQ==", "l": None, "t": "x"}
    (update,) = Translated().take(one.change("u", "prices", whole, whole), one.end()).messages[2:3]
    assert update.after[1] is None


def test_a_deletion_waits_for_the_record_after_it() -> None:
    one = Envelopes()
    found = Translated().take(one.change("d", "pairs", before={"a": 1, "b": "x"}), b"null")
    assert found.kinds() == [Begin]
    assert found.translator.is_holding
    found.take(b'{"ts_ms": 1}')
    assert found.kinds() == [Begin, Delete]
    found.take(one.change("d", "pairs", before={"a": 2, "b": "x"})).translator.finish()
    assert found.kinds() == [Begin, Delete, Delete, Commit]


def test_a_transaction_ends_with_its_end_or_with_the_next_one() -> None:
    one, two, three = Envelopes(700), Envelopes(701, 2000), Envelopes(702, 3000)
    found = Translated().take(
        one.change("c", "pairs", after={"a": 1}),
        one.end(),
        two.change("c", "pairs", after={"a": 2}),
        three.change("c", "pairs", after={"a": 3}),
    )
    assert found.kinds() == [Begin, Insert, Commit, Begin, Insert, Commit, Begin, Insert]
    begins = [message for message in found.messages if isinstance(message, Begin)]
    assert [begin.commit_lsn for begin in begins] == [1008, 2008, 3008]
    ends = [message.end_lsn for message in found.messages if isinstance(message, Commit)]
    assert ends == [one.lsn + 40 & -8, 3000]


def test_a_transaction_that_was_left_for_a_repetition_goes_on() -> None:
    one, two = Envelopes(700), Envelopes(701, 2000)
    first, second = one.change("c", "pairs", after={"a": 1}), two.change("c", "pairs", after={"a": 2})
    third = two.change("c", "pairs", after={"a": 3})
    found = Translated().take(first, second, first, second, third)
    assert found.kinds() == [Begin, Insert, Commit, Begin, Insert, Insert]
    assert found.translator.repeated == 2


def test_rows_of_a_copy_lie_at_one_place() -> None:
    one = Envelopes()
    lines = [one.change("c", "pairs", after={"a": number}, lsn=2000) for number in range(3)]
    found = Translated().take(*lines, *lines, one.change("c", "pairs", after={"a": 3}, lsn=2000))
    assert found.kinds() == [Begin, Insert, Insert, Insert, Insert]


def test_rows_without_a_key_are_told_from_those_that_come_again() -> None:
    one, two = Envelopes(700), Envelopes(701, 2000)
    earlier = one.change("c", "pairs", after={"a": 1})
    statement = two.message(b"{}", lsn=2000)
    row = two.change("c", "nobodys", after={"a": 1}, lsn=2000)
    # The connector goes on with the transaction, or before it.
    for again in ([], [earlier]):
        found = Translated().take(earlier, statement, row, row, *again, statement, row, row, row)
        assert found.kinds().count(Insert) == 4
        assert found.translator.repeated == 3 + len(again)


def test_a_message_of_no_transaction_stands_alone() -> None:
    one = Envelopes(700)
    alone = Envelopes(700, 2000).message(b"x", "another", txId=None, lsn=2000)
    two = Envelopes(701, 2000)
    found = Translated().take(
        one.change("c", "pairs", after={"a": 1}), alone, alone, two.change("c", "pairs", after={"a": 2})
    )
    assert found.kinds() == [Begin, Insert, Commit, Message, Begin, Insert]
    assert found.translator.repeated == 1


def test_the_last_moment_before_the_offsets_were_lost_is_uncertain() -> None:
    end = RecordedEnd(5000, 849_242_242_000_800, False, 8)
    lost = Envelopes(700, None, lsn=1000)
    found = Translated(end).take(lost.change("c", "pairs", after={"a": 1}))
    assert [refusal.reason[:13] for refusal in found.refused] == ["the connector"]
    assert found.messages == []


def test_positions_that_cannot_be_are_refused_and_move_nothing() -> None:
    one, two = Envelopes(700), Envelopes(702, 2000)
    largest = json.dumps([str(MAX_LSN), str(MAX_LSN)])
    found = Translated().take(
        one.change("c", "pairs", after={"a": 1}),
        one.change("c", "pairs", after={"a": 2}, sequence="[1e999,1]"),
        Envelopes(701).change("c", "pairs", after={"a": 3}, lsn=MAX_LSN, sequence=largest),
        Envelopes(701).change("c", "pairs", after={"a": 4}, sequence=largest),
        b'{"status": "END", "id": "700:9999999999999999999", "ts_ms": 1}',
        two.change("c", "pairs", after={"a": 5}),
    )
    assert found.kinds() == [Begin, Insert, Commit, Begin, Insert]
    assert len(found.refused) == 4


@pytest.mark.parametrize(
    "field",
    [
        {"field": "a", "type": "bytes", "parameters": [1]},
        {"field": "a", "type": "bytes", "parameters": {"scale": "9" * 5000}},
        {"field": "l", "type": "array", "items": [1]},
    ],
    ids=lambda field: str(field)[:60],
)
def test_a_schema_that_is_none_costs_a_value(field: dict[str, Any]) -> None:
    line = Envelopes().change("c", "prices", after={"a": "AQ==", "l": ["AQ=="], "t": "kept"})
    envelope = {"fields": [{"field": "after", "fields": [field]}]}
    record = {"schema": envelope, "payload": json.loads(line)["value"]}
    found = Translated().take(json.dumps(record).encode())
    assert found.kinds() == [Begin, Insert]
    (refusal,) = found.refused
    assert f"after.{field['field']}: " in refusal.reason


#: Records of other formats, and what is to be set so that they are envelopes.
_FOREIGN = {
    "flattened": ({"id": 1, "task": "x"}, "ExtractNewRecordState"),
    "flattened with fields": (
        {"id": 1, "__op": "c", "__source_lsn": 8, "__deleted": "false"},
        "ExtractNewRecordState",
    ),
    "flattened with a status": ({"id": 1, "status": "BEGIN", "task": "x"}, "ExtractNewRecordState"),
    "flattened with a number and a status": ({"id": 1, "status": "BEGIN"}, "ExtractNewRecordState"),
    "flattened with a value": ({"id": 1, "value": None}, "ExtractNewRecordState"),
    "flattened with a payload": ({"id": 1, "payload": None, "task": "x"}, "ExtractNewRecordState"),
    "CloudEvent": (
        {
            "id": "name:bemi;lsn:29274832;txId:565",
            "source": "/debezium/postgresql/bemi",
            "specversion": "1.0",
            "type": "io.debezium.postgresql.datachangeevent",
            "iodebeziumop": "c",
            "data": {"before": None, "after": {"a": 1, "b": "x"}},
        },
        "debezium.format.value=json",
    ),
    "CloudEvent in Avro": (
        {"specversion": "1.0", "datacontenttype": "application/avro", "data": "AAAAAAE="},
        "debezium.format.value=json",
    ),
    "Avro": (b"\0\0\0\0\1\2\2x\0", "such as Avro or Protobuf: let the connector send JSON"),
    "JSON of a registry": (b'\0\0\0\0\1{"op": "c"}', "debezium.format.value=json"),
    "Avro without a registry": (b"Obj\1\4\x14avro.codec", "debezium.format.value=json"),
}


@pytest.mark.parametrize("name", _FOREIGN)
def test_records_of_other_formats_are_refused_with_what_is_to_be_set(name: str) -> None:
    record, advice = _FOREIGN[name]
    one = Envelopes()
    line = record if isinstance(record, bytes) else json.dumps(record).encode()
    found = Translated().take(one.change("c", "pairs", after={"a": 1}), line, one.end())
    assert found.kinds() == [Begin, Insert, Commit]
    (refusal,) = found.refused
    assert advice in refusal.reason
    assert refusal.data == line


@pytest.mark.parametrize(
    "record",
    [
        {"status": "BEGIN", "id": "700:1100", "event_count": None, "data_collections": None, "ts_ms": 1},
        {"schema": {"fields": []}, "payload": {"status": "BEGIN", "id": "700:1100", "ts_ms": 1}},
        {"schema": {"fields": []}, "payload": {"ts_ms": 1, "ts_us": 1, "ts_ns": 1}},
        {"value": None},
        {"topic": "bemi.public.pairs", "value": None},
    ],
)
def test_what_says_nothing_of_a_row_is_passed_over(record: dict[str, Any]) -> None:
    found = Translated().take(json.dumps(record).encode())
    assert (found.messages, found.refused) == ([], [])


def test_a_value_that_is_nested_too_deeply_is_left_out() -> None:
    line = Envelopes().change("c", "gone", after={"a": 1, "deep": "@"})
    found = Translated().take(line.replace(b'"@"', b"[" * 300 + b"]" * 300))
    assert found.kinds() == [Begin, Insert]
    assert [refusal.reason[:11] for refusal in found.refused] == ["after.deep:"]


@settings(max_examples=150)
@given(st.data())
def test_no_record_is_lost_without_a_word(data: st.DataObject) -> None:
    one = Envelopes()
    record = json.loads(
        data.draw(
            st.sampled_from(
                [
                    one.change("c", "pairs", after={"a": 1, "b": "x"}),
                    one.change("u", "pairs", {"a": 1, "b": "x"}, {"a": 1, "b": "y"}),
                    one.change("t", "pairs"),
                    one.message(b'16384{"user": 1}'),
                    one.end(),
                ]
            )
        )
    )
    changed: Any = record["value"]
    path = data.draw(st.sampled_from([(), ("source",), ("after",), ("message",)]))
    for name in path:
        changed = changed.get(name) or changed
    names = sorted(name for name in changed if isinstance(name, str))
    changed[data.draw(st.sampled_from([*names, "x"]))] = data.draw(_JSON)
    found = Translated()
    with suppress(ReplicationError):
        found.take(json.dumps(record).encode())
        found.translator.finish()
        is_silent = "op" not in record["value"]
        assert found.messages or found.refused or found.translator.repeated or is_silent
    assert all(refusal.reason for refusal in found.refused)


@settings(max_examples=100)
@given(st.binary(max_size=40) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_breaks_the_reader(line: bytes) -> None:
    found = Translated()
    if line.strip():
        found.take(line)
    assert found.messages == []
