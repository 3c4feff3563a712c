"""What is different between two values, without a server."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bemi_django.admin.display.value_diff import MOST_WORDS, Piece, as_text, differences
from bemi_django.log.lossless_json import dumps, loads

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def joined(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def marked(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces if piece.is_changed]


def test_words_that_differ_are_marked() -> None:
    sides = differences("Buy milk, today", "Buy bread, tomorrow")
    assert marked(sides.before) == ["milk", "today"]
    assert marked(sides.after) == ["bread", "tomorrow"]


def test_keys_of_json_that_differ_are_marked() -> None:
    sides = differences({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 3, 4]}, "d": None})
    assert marked(sides.before) == ["      2\n"]
    assert marked(sides.after) == ["      3,\n      4\n", '  "d": null\n']


def test_a_value_of_another_kind_is_changed_in_whole() -> None:
    pairs: list[tuple[Any, Any]] = [(1, "1"), (1, True), (1, 1.0), (None, {}), ([], {}), ({"a": 1}, "x")]
    for before, after in pairs:
        sides = differences(before, after)
        assert [piece.is_changed for side in sides for piece in side] == [True, True]


def test_one_is_not_true_inside_of_json_either() -> None:
    sides = differences({"a": 1}, {"a": True})
    assert (marked(sides.before), marked(sides.after)) == (['  "a": 1\n'], ['  "a": true\n'])


def test_a_long_text_is_changed_in_whole() -> None:
    text = "word " * MOST_WORDS
    assert differences(text, text + "x").before == [Piece(text, True)]


def test_numbers_have_every_digit() -> None:
    number = "0.12345678901234567890123456789"
    assert as_text(loads(f'{{"a": [{number}]}}')) == f'{{\n  "a": [\n    {number}\n  ]\n}}'


@given(st.text(), st.text())
def test_the_pieces_of_a_text_are_the_text(before: str, after: str) -> None:
    sides = differences(before, after)
    assert (joined(sides.before), joined(sides.after)) == (before, after)
    unmarked = ["".join(piece.text for piece in side if not piece.is_changed) for side in sides]
    assert unmarked[0] == unmarked[1]


@given(JSON, JSON)
def test_the_pieces_of_json_are_the_json(before: Any, after: Any) -> None:
    for value, side in zip((before, after), differences(before, after), strict=True):
        if isinstance(value, str):
            assert joined(side) == value
        else:
            assert json.loads(joined(side)) == value


@given(JSON)
def test_what_is_equal_has_no_mark(value: Any) -> None:
    read = loads(dumps(value)), loads(dumps(value))
    assert [marked(side) for side in differences(*read)] == [[], []]
