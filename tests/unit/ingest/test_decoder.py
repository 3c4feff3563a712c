"""The decoder against messages built by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import (
    UNAVAILABLE,
    Begin,
    Column,
    Commit,
    Decoded,
    Delete,
    Insert,
    Message,
    Relation,
    Row,
    Truncate,
    Update,
)
from tests.support import pgoutput
from tests.support.pgoutput import message, relation, text

TABLE = Relation(7, "public", "tödo", (Column("id", 23, True), Column("note", 25, False)))
OTHER = Relation(8, "pg_catalog", "pg_x", ())


def change(kind: bytes, *rows: tuple[bytes, Row]) -> bytes:
    return pgoutput.change(kind, TABLE.oid, *rows)


MESSAGES: dict[str, tuple[bytes, Decoded | None]] = {
    "begin": (b"B" + struct.pack(">QqI", 2**63, -5, 2**32 - 1), Begin(2**63, -5, 2**32 - 1)),
    "commit": (b"C" + struct.pack(">BQQq", 0, 8, 16, 1), Commit(8, 16)),
    "relation": (relation(TABLE, "public"), TABLE),
    "relation of the catalog": (relation(OTHER, ""), OTHER),
    "message": (message("_bemi", b'{"a": 1}'), Message(99, b"_bemi", b'{"a": 1}')),
    "empty message": (message("", b""), Message(99, b"", b"")),
    "insert": (change(b"I", (b"N", [b"1", None])), Insert(TABLE, [b"1", None])),
    "update": (change(b"U", (b"N", [b"1", b""])), Update(TABLE, [b"1", UNAVAILABLE], [b"1", b""])),
    "update of the key": (
        change(b"U", (b"K", [b"1", None]), (b"N", [b"2", b"x"])),
        Update(TABLE, [b"1", UNAVAILABLE], [b"2", b"x"]),
    ),
    "update with the old row": (
        change(b"U", (b"O", [b"1", b"old"]), (b"N", [b"1", b"new"])),
        Update(TABLE, [b"1", b"old"], [b"1", b"new"]),
    ),
    "delete": (change(b"D", (b"O", [b"1", b"old"])), Delete(TABLE, [b"1", b"old"])),
    "delete by key": (change(b"D", (b"K", [b"1", None])), Delete(TABLE, [b"1", UNAVAILABLE])),
    "truncate": (b"T" + struct.pack(">IBII", 2, 1, 7, 8), Truncate((TABLE, OTHER))),
    "origin": (b"O" + struct.pack(">Q", 8) + text("elsewhere"), None),
    "type": (b"Y" + struct.pack(">I", 99) + text("public") + text("mood"), None),
}


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return knowing_decoder()


def knowing_decoder() -> Decoder:
    decoder = Decoder()
    decoder.decode(relation(TABLE, "public"))
    decoder.decode(relation(OTHER, ""))
    return decoder


@pytest.mark.parametrize(("data", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_decoded(decoder: Decoder, data: bytes, expected: Decoded | None) -> None:
    found = decoder.decode(data)
    assert found == expected
    assert type(found) is type(expected)


def test_a_value_that_was_not_sent_is_the_old_one(decoder: Decoder) -> None:
    data = change(b"U", (b"O", [b"1", b"large"]), (b"N", [b"2", UNAVAILABLE]))
    assert decoder.decode(data) == Update(TABLE, [b"1", b"large"], [b"2", b"large"])


def test_a_value_that_was_not_sent_and_has_no_old_one_is_marked(decoder: Decoder) -> None:
    found = decoder.decode(change(b"U", (b"N", [b"2", UNAVAILABLE])))
    assert isinstance(found, Update)
    assert found.after[1] is UNAVAILABLE


def test_a_value_may_look_like_the_mark(decoder: Decoder) -> None:
    data = change(b"U", (b"O", [b"1", b"old"]), (b"N", [b"1", bytes(bytearray(UNAVAILABLE))]))
    found = decoder.decode(data)
    assert isinstance(found, Update)
    assert found.after[1] == UNAVAILABLE and found.after[1] is not UNAVAILABLE


def test_a_relation_described_again_replaces_the_first() -> None:
    decoder = knowing_decoder()
    renamed = TABLE._replace(name="renamed")
    decoder.decode(relation(renamed, "public"))
    found = decoder.decode(change(b"I", (b"N", [b"1", None])))
    assert isinstance(found, Insert)
    assert found.relation == renamed


def test_a_name_that_is_no_text_is_escaped() -> None:
    found = Decoder().decode(b"R\0\0\0\1\xc3\xa9\0\xe9\0f\0\1\1a\xff%\0\0\0\0\x19\xff\xff\xff\xff")
    assert found == Relation(1, "é", "%E9", (Column("a%FF%", 25, True),))


def test_a_row_of_a_relation_that_was_not_described_is_refused() -> None:
    with pytest.raises(ProtocolError, match="undecodable message of type b'I': 7"):
        Decoder().decode(change(b"I", (b"N", [b"1", None])))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "unknown message type b''", id="empty"),
        pytest.param(b"?", "unknown message type b'?'", id="kind"),
        pytest.param(b"I\0\0\0\7N\0\1x", "unknown column kind 120", id="column kind"),
        pytest.param(message("_bemi", b"{}") + b"x", "message is incomplete", id="content"),
        pytest.param(change(b"U", (b"O", [b"1"]), (b"N", [b"1", b"x"])), "zip", id="two lengths"),
        pytest.param(b"R\0\0\0\1f", "subsection not found", id="name"),
    ],
)
def test_what_is_not_the_protocol_is_refused_with_its_reason(
    decoder: Decoder, data: bytes, reason: str
) -> None:
    with pytest.raises(ProtocolError) as raised:
        decoder.decode(data)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (b"I", Insert(TABLE, [UNAVAILABLE] * 2)),
        (b"U", Update(TABLE, [UNAVAILABLE] * 2, [UNAVAILABLE] * 2)),
        (b"D", Delete(TABLE, [UNAVAILABLE] * 2)),
        (b"?", None),
    ],
)
def test_of_an_undecodable_row_the_table_is_known(
    decoder: Decoder, kind: bytes, expected: Decoded | None
) -> None:
    assert decoder.outline(kind + struct.pack(">I", TABLE.oid) + b"?") == expected


@pytest.mark.parametrize("data", [b"I", b"I\0\0\0\1N"], ids=["cut", "other table"])
def test_of_an_undecodable_row_of_no_known_table_nothing_is_known(decoder: Decoder, data: bytes) -> None:
    assert decoder.outline(data) is None


def test_a_relation_may_be_known_from_elsewhere() -> None:
    decoder = Decoder()
    decoder.know(TABLE)
    assert decoder.decode(change(b"I", (b"N", [b"1", None]))) == Insert(TABLE, [b"1", None])


WITH_CONTENT = {name: data for name, (data, expected) in MESSAGES.items() if expected is not None}


@pytest.mark.parametrize("data", WITH_CONTENT.values(), ids=WITH_CONTENT)
def test_a_message_cut_anywhere_is_refused(decoder: Decoder, data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            decoder.decode(data[:end])


rows = st.lists(st.none() | st.binary(), max_size=4)
garbage = st.binary(max_size=80)
kinds = st.sampled_from([bytes([kind]) for kind in b"IUDMBCRTOY"])


@given(rows)
def test_any_row_comes_back(row: Row) -> None:
    assert knowing_decoder().decode(change(b"I", (b"N", row))) == Insert(TABLE, row)


@given(
    garbage
    | st.builds(bytes.__add__, kinds, garbage)
    | st.builds(lambda kind, rest: kind + b"\0\0\0\7" + rest, kinds, garbage)
)
def test_arbitrary_bytes_are_a_message_or_one_clear_error(data: bytes) -> None:
    try:
        knowing_decoder().decode(data)
    except ProtocolError as error:
        assert str(error)
