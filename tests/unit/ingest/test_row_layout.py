"""What the layout of a table knows of its masks."""

from __future__ import annotations

from functools import partial

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.ingest.protocol.messages import UNAVAILABLE, Row
from bemi_django.ingest.rows import values
from bemi_django.ingest.rows.row_layout import RowLayout, head, masked, template, unseen
from bemi_django.masking.actions import Encryption, hashed, text_hasher
from bemi_django.masking.rules import ColumnMask

NAMES = ("id", "card", "note")
KEY = b"0123456789abcdef"
DROPPED = ColumnMask(None)
LAST = ColumnMask(lambda value: b'"*' + value[-2:])


def layout(mask: ColumnMask) -> RowLayout:
    encoders = (values.text, masked(values.text, mask), values.text)
    made = RowLayout(head("db", "public", "t"), NAMES, template(NAMES), encoders, (0,), masked=("card",))
    return made._replace(unseen=unseen(NAMES, {"card": mask}))


def test_a_mask_takes_the_rendered_value_and_a_column_without_a_mask_keeps_it() -> None:
    assert masked(values.text, None) is values.text
    assert masked(values.text, DROPPED) is None
    keep = masked(values.text, LAST)
    assert keep is not None and keep(b"4111") == b'"*1"'


@given(st.text(max_size=40))
def test_a_hash_of_a_text_is_that_of_the_string_of_json(value: str) -> None:
    mask = ColumnMask(partial(hashed, key=KEY), of_text=text_hasher(KEY))
    of_text, of_json = masked(values.text, mask), masked(values.raw, mask)
    assert of_text is mask.of_text and of_text is not None and of_json is not None
    assert of_text(value.encode()) == of_json(orjson.dumps(value))


@pytest.mark.parametrize(("mask", "keeps"), [(DROPPED, False), (LAST, True)])
def test_it_tells_whether_something_is_kept_of_masked_columns(mask: ColumnMask, keeps: bool) -> None:
    assert layout(mask).keeps_of_masked is keeps


def test_only_masked_columns_differ_in_what_is_masked() -> None:
    table = layout(DROPPED)
    assert table.differs_in_masked([b"1", b"4111", b"a"], [b"1", b"4112", b"a"])
    assert not table.differs_in_masked([b"1", b"4111", b"a"], [b"2", b"4111", b"b"])
    assert not table.differs_in_masked(None, [b"1", b"4111", b"a"])


HASHED = ColumnMask(partial(hashed, key=KEY), of_text=text_hasher(KEY))
ENCRYPTED = ColumnMask(None, encryption=Encryption())


@pytest.mark.parametrize(
    ("mask", "is_named"), [(DROPPED, True), (LAST, True), (HASHED, False), (ENCRYPTED, False)]
)
def test_a_change_is_named_where_what_is_stored_need_not_show_it(mask: ColumnMask, is_named: bool) -> None:
    table = layout(mask)
    old: Row = [b"1", b"4111", b"a"]
    assert table.unseen_changes(old, [b"1", b"4211", b"b"]) == ["card"] * is_named
    assert table.unseen_changes(old, [b"1", None, b"a"]) == ["card"] * is_named
    others: list[Row | None] = [None, [b"2", b"4111", b"b"], [b"1", UNAVAILABLE, b"b"]]
    for new in others:
        assert table.unseen_changes(old, new) == table.unseen_changes(new, old) == []
