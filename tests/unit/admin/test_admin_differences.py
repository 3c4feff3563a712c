"""What is different between two values, without a server."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.admin.display import text_diff
from bemi_django.admin.display.text_diff import MOST_PAIRS, Effort, Piece, text_differences
from bemi_django.admin.display.value_diff import as_text, differences
from bemi_django.admin.display.values.folded_text import folded, whole
from bemi_django.admin.display.values.shown_value import shown
from bemi_django.log.lossless_json import dumps, loads
from tests.support.steps import at_most

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
    assert marked(sides.before) == ["2"]
    assert marked(sides.after) == ["3,\n      4", '  "d": null\n']


def test_a_value_of_another_kind_is_changed_in_whole() -> None:
    pairs: list[tuple[Any, Any]] = [(1, "1"), (1, True), (1, 1.0), (None, {}), ([], {}), ({"a": 1}, "x")]
    for before, after in pairs:
        sides = differences(before, after)
        assert [piece.is_changed for side in sides for piece in side] == [True, True]


def test_one_is_not_true_inside_of_json_either() -> None:
    sides = differences({"a": 1}, {"a": True})
    assert (marked(sides.before), marked(sides.after)) == (["1"], ["true"])


def test_an_item_inserted_into_a_list_is_all_that_differs() -> None:
    sides = differences([{"id": n} for n in range(9)], [{"id": n} for n in (8, *range(9))])
    assert marked(sides.before) == []
    assert sorted("".join(marked(sides.after)).split()) == ['"id":', "8", "{", "},"]


@given(*[st.lists(st.integers(0, 4), max_size=9)] * 2)
def test_as_much_of_a_list_is_equal_as_can_be(before: list[int], after: list[int]) -> None:
    longest: Any = {(i, k): 0 for i in range(10) for k in range(10)}
    for i, one in enumerate(before, 1):
        for k, other in enumerate(after, 1):
            kept = max(longest[i - 1, k], longest[i, k - 1])
            longest[i, k] = max(kept, longest[i - 1, k - 1] + (one == other))
    sides = differences([-1, *before], [-1, *after])
    equal = "".join(piece.text for piece in sides.after if not piece.is_changed)
    assert sum(map(equal.count, "0234")) + equal.count("1") - 1 == longest[len(before), len(after)]


def test_one_word_is_found_in_a_long_text() -> None:
    lines = [f"line {number} of a long text\n" for number in range(3000)]
    other = [*lines[:1500], lines[1500].replace("long", "short"), *lines[1501:]]
    sides = differences("".join(lines), "".join(other))
    assert (marked(sides.before), marked(sides.after)) == (["long"], ["short"])
    before, after = folded(sides)
    assert [piece.lines for piece in before if piece.is_folded] == [1498, 1497]
    assert len(joined([piece for piece in after if not piece.is_folded])) < 300


def test_one_word_is_found_in_a_long_line() -> None:
    text = "word " * 90_000
    sides = differences(text, f"{text[:50_000]}new {text[50_000:]}")
    assert (marked(sides.before), [word.strip() for word in marked(sides.after)]) == ([], ["new"])
    before, after = folded(sides)
    assert sum(piece.omitted for piece in after) > 300_000
    assert len(joined(after)) < 50_000


def test_one_word_is_found_in_a_text_whose_line_ends_are_others() -> None:
    lines = [f"line {number} of a long text" for number in range(1500)]
    other = [*lines[:700], "line 700 of a short text", *lines[701:]]
    sides = differences("\n".join(lines), "\r\n".join(other))
    assert "long" in marked(sides.before) and "short" in marked(sides.after)
    assert all(len(joined([piece for piece in side if not piece.is_folded])) < 4000 for side in folded(sides))


@pytest.mark.parametrize("sign", ["漢", "Zm9v"])
def test_one_character_is_found_in_a_text_without_blanks(sign: str) -> None:
    text = sign * 500
    sides = differences(f"{text}甲{text}", f"{text}乙乙{text}")
    assert (marked(sides.before), marked(sides.after)) == (["甲"], ["乙乙"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\n" * 400_000, "b\n" * 400_000),
        ("a " * 400_000, "b a " * 300_000),
        ("a\nb\n" * 2000, "b\na\na\n" * 2000),
        ("".join(f"{n % 97}\n" for n in range(2000)), "".join(f"{n % 89}\n" for n in range(1999))),
        ("".join(f"{n % 47} " for n in range(990)), "".join(f"{n % 43} " for n in range(990))),
        ([[]] * 10_000, [[1]] * 10_000),
    ],
    ids=["lines", "words", "few lines", "repeated lines", "repeated words", "items"],
)
def test_hostile_values_take_few_steps_and_little_room(before: Any, after: Any) -> None:
    with at_most(2_000_000):
        sides = folded(differences(before, after))
    assert all(len(joined(side)) < 150_000 for side in sides)
    assert all(marked(side) for side in sides)


def test_a_long_part_that_differs_is_folded_after_its_beginning() -> None:
    before, after = folded(text_differences("x" * 5000, "".join(f"{n}\n" for n in range(40))))
    assert [(len(piece.text), piece.is_folded) for piece in before] == [(600, False), (4400, True)]
    assert [(piece.text.count("\n"), piece.is_folded) for piece in after] == [(16, False), (24, True)]
    assert all(piece.is_changed for piece in (*before, *after)) and before[1].size == 4400
    assert len(folded(text_differences("x" * 1200, "\n" * 30)).before) == 1


def hunks(number: int) -> tuple[str, str]:
    """Return texts of many paragraphs that each have many equal words in another order."""
    words = [f"{n % 7}" for n in range(480)]
    pairs = [(" ".join([f"a{n}", *words]), " ".join([f"b{n}", *reversed(words)])) for n in range(number)]
    one, other = (
        "".join(f"{side}\nsame {n}\n" for n, side in enumerate(sides)) for sides in zip(*pairs, strict=True)
    )
    return one, other


class Counter:
    """Counts the pairs of equal items that are matched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pairs = 0
        matcher = SequenceMatcher

        def counted(is_junk: Any, one: Any, other: Any, **options: Any) -> Any:
            self.pairs += sum(other.count(word) for word in one if not (is_junk and is_junk(word)))
            return matcher(is_junk, one, other, **options)

        monkeypatch.setattr(text_diff, "SequenceMatcher", counted)


def test_a_comparison_has_an_end_however_many_paragraphs_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter(monkeypatch)
    before, after = hunks(40)
    sides = text_differences(before, after)
    assert 0 < counter.pairs <= MOST_PAIRS
    assert (joined(sides.before), joined(sides.after)) == (before, after)
    # Lines are still told apart, and what is left is marked as a whole.
    assert "same 38\n" in "".join(piece.text for piece in sides.before if not piece.is_changed)
    assert any(text.startswith("a39 0 1 2 3") and len(text) > 900 for text in marked(sides.before))


def test_the_comparisons_of_a_page_have_an_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter(monkeypatch)
    before, after = hunks(1)
    page = Effort(2 * MOST_PAIRS)
    for number in range(10):
        sides = differences({"a": before, "b": number}, {"a": after, "b": number}, page=page)
        assert marked(sides.before) and marked(sides.after)
        differences(before, after, page=page)
    assert MOST_PAIRS < counter.pairs <= 2 * MOST_PAIRS


def test_white_space_that_differs_is_seen() -> None:
    sides = differences("a b\n", "a  b\t\u200b\n")
    assert [piece.visible for piece in sides.after if piece.is_changed] == ["··", "⇥⟨zwsp⟩"]
    assert [piece.visible for piece in sides.after if not piece.is_changed] == ["a", "b", "\n"]


@pytest.mark.parametrize(
    "unseen", "\t\r\x0b\x0c\x1f\x7f\x85\xa0\xad\u1680\u2003\u200b\u2028\u2060\u3000\ufeff"
)
def test_all_that_is_not_seen_has_a_sign_where_it_differs(unseen: str) -> None:
    sides = differences("a b", f"a{unseen}b")
    told = "".join(piece.visible for piece in sides.after if piece.is_changed)
    assert told and unseen not in told


@pytest.mark.parametrize("turning", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_what_turns_the_direction_is_seen_wherever_it_is(turning: str) -> None:
    text = f"invoice{turning}fdp.exe"
    sides = differences(text, f"{text} x")
    told = ["".join(piece.visible for piece in pieces) for pieces in (sides.before, sides.after)]
    told += [shown(None, text).brief, shown(None, {"a": text}).brief]
    assert all(turning not in one and "invoice⟨" in one and "⟩fdp.exe" in one for one in told), told


def test_what_is_equal_is_folded_unless_it_is_short() -> None:
    assert whole("short") == [Piece("short", is_changed=False)]
    shown, rest = whole("".join(f"{number}\n" for number in range(100)))
    assert (shown.text, rest.is_folded, rest.lines) == ("0\n1\n2\n", True, 97)


def test_numbers_have_every_digit() -> None:
    number = "0.12345678901234567890123456789"
    assert as_text(loads(f'{{"a": [{number}]}}')) == f'{{\n  "a": [\n    {number}\n  ]\n}}'


@given(st.text(), st.text())
def test_the_pieces_of_a_text_are_the_text(before: str, after: str) -> None:
    sides = differences(before, after)
    assert (joined(sides.before), joined(sides.after)) == (before, after)
    unmarked = ["".join(piece.text for piece in side if not piece.is_changed) for side in sides]
    assert unmarked[0] == unmarked[1]


LINES = st.lists(st.sampled_from(["a\n", "b c\n", "b d\n", "\n", "e"]), max_size=30).map("".join)


@given(LINES, LINES)
def test_folded_pieces_are_still_the_text(before: str, after: str) -> None:
    sides = folded(text_differences(before, after))
    assert (joined(sides.before), joined(sides.after)) == (before, after)


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
