"""Row messages of any size, read without the decoder."""

from __future__ import annotations

import struct

import pytest

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Column, Relation, Row
from bemi_django.ingest.protocol.oversize import read_oversize
from tests.support import pgoutput

TABLE = Relation(7, "public", "t", (Column("id", 23, True), Column("body", 25, False)))
NEW: Row = [b"1", b"new"]
OLD: Row = [b"1", b"old"]


@pytest.mark.parametrize(
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
def test_a_message_of_any_form_is_read_as_the_decoder_reads_it(data: bytes) -> None:
    decoder = Decoder()
    decoder.know(TABLE)
    message, reasons = read_oversize(data, {7: TABLE}.get)
    assert message == decoder.decode(data) and reasons == []


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
