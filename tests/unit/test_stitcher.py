from __future__ import annotations

import json

import pytest

from bemi_django.exceptions import ProtocolError
from bemi_django.wal.decoder import Decoder
from bemi_django.wal.messages import Begin, Commit, Insert, Message, Relation, Truncate
from bemi_django.wal.rows import change_id
from bemi_django.wal.stitcher import Stitcher, storable_json

TABLE = Relation(1, "public", "t", ())


def test_a_message_holds_until_the_next_one_of_the_transaction() -> None:
    stitcher = Stitcher()
    stream = [
        Begin(8, 0, 1),
        Insert(TABLE, []),
        Message(b"_bemi", b'{"a": 1}'),
        Insert(TABLE, []),
        Message(b"other", b"x"),
        Insert(TABLE, []),
        Message(b"_bemi", b'{"a": 2}'),
        Truncate((TABLE, TABLE)),
        Commit(8, 16),
        Begin(24, 0, 2),
        Insert(TABLE, []),
    ]
    changes = [change for message in stream for change in stitcher.feed(message)]
    assert [change.context for change in changes] == [
        b"{}", b'{"a": 1}', b'{"a": 1}', b'{"a": 2}', b'{"a": 2}', b"{}",
    ]  # fmt: skip
    assert [change.ordinal for change in changes] == [0, 1, 2, 3, 4, 0]


@pytest.mark.parametrize(
    "content",
    [b"not json", b"[1]", b"\xff", b'{"a": NaN}', b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b'{"a": "\x00"}'],
)
def test_what_jsonb_would_refuse_is_kept_as_text(content: bytes) -> None:
    assert set(json.loads(storable_json(content))) == {"_bemi_invalid"}


def test_large_numbers_of_a_context_are_not_touched() -> None:
    content = b'{"a": 123456789012345678901234567890.10, "b": "\\ud83d\\ude00 NaN"}'
    assert storable_json(content) == content


@pytest.mark.parametrize("data", [b"", b"?", b"I\0\0\0\1N\0\1", b"R\0", b"B", b"T\0\0\0\1\0\0\0\0\1"])
def test_bytes_that_are_not_the_protocol_are_one_clear_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().decode(data)


def test_ids_sort_in_commit_order_and_are_version_8() -> None:
    ids = [change_id(lsn, ordinal, source=5) for lsn in (8, 16, 1 << 40) for ordinal in (0, 1, 1 << 31)]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    assert all(made[6] >> 4 == 8 and made[8] >> 6 == 2 for made in ids)
