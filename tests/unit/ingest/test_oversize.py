"""Row messages of any size, read without the decoder."""

from __future__ import annotations

import struct

import pytest

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol import oversize
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Column, LargeRow, Relation, Row
from bemi_django.ingest.protocol.oversize import read_oversize
from tests.support import pgoutput

TABLE = Relation(7, "public", "t", (Column("id", 23, True), Column("body", 25, False)))
NEW: Row = [b"1", b"new"]
OLD: Row = [b"1", b"old"]


MESSAGES = pytest.mark.parametrize(
    "data",
    [
        pgoutput.change(b"I", 7, (b"N", NEW)),
        pgoutput.change(b"U", 7, (b"N", NEW)),
        pgoutput.change(b"U", 7, (b"K", [b"1", None]), (b"N", NEW)),
        pgoutput.change(b"U", 7, (b"O", OLD), (b"N", [b"1", UNAVAILABLE])),
        pgoutput.change(b"D", 7, (b"O", OLD)),
        pgoutput.change(b"D", 7, (b"K", [b"1", None])),
    ],
)


@MESSAGES
def test_a_message_of_any_form_is_read_as_the_decoder_reads_it(data: bytes) -> None:
    decoder = Decoder()
    decoder.know(TABLE)
    message, reasons = read_oversize(data, {7: TABLE}.get)
    assert message == decoder.decode(data) and reasons == []


@MESSAGES
def test_every_row_says_that_its_values_may_be_views(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oversize, "_VIEWED", 0)
    message = read_oversize(data, {7: TABLE}.get).message
    rows = [row for row in message if isinstance(row, list)]
    assert rows and all(isinstance(row, LargeRow) for row in rows)


@pytest.mark.parametrize(
    "data",
    [
        pgoutput.change(b"I", 8, (b"N", NEW)),
        pgoutput.change(b"D", 7, (b"N", NEW)),
        pgoutput.change(b"D", 7),
        pgoutput.change(b"I", 7, (b"X", NEW)),
        pgoutput.change(b"T", 7, (b"N", NEW)),
        pgoutput.change(b"I", 7, (b"N", [b"1"])),
        pgoutput.change(b"I", 7) + b"N" + struct.pack(">h", 2) + b"nx",
        pgoutput.change(b"I", 7, (b"N", NEW))[:-1],
        pgoutput.change(b"I", 7) + b"N",
        b"I",
    ],
)
def test_what_is_no_message_of_a_row_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_oversize(data, {7: TABLE}.get)
