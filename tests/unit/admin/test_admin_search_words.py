"""Words of the search box, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from bemi_django.admin.search.search_terms import parse


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("O'Brien", ["O'Brien"]),
        ("d'Arc l'Oréal", ["d'Arc", "l'Oréal"]),
        ("24\" 5' disk", ['24"', "5'", "disk"]),
        ("back\\slash %x_y*", ["back\\slash", "%x_y*"]),
        ("'two words' three", ["two words", "three"]),
        ('"say \\"x\\"" \'"\'', ['say "x"', '"']),
        ("' x '", [" x "]),
        ("a''", ["a''"]),
    ],
)
def test_a_mark_inside_of_a_word_is_no_quotation(text: str, words: list[str]) -> None:
    assert parse(text, []).free_words == tuple(words)


@pytest.mark.parametrize(
    ("text", "context", "columns"),
    [
        ("reason=Don't panic, it's him", {"reason": "Don't panic, it's him"}, ()),
        ("reason='Black Friday' ", {"reason": "Black Friday"}, ()),
        ('task="say \\"x\\" \\\\"', {"task": 'say "x" \\'}, ()),
        ("name:O'Brien", None, ("name",)),
        ("became:name:'two words'", None, ("name",)),
    ],
)
def test_a_value_may_have_such_marks(text: str, context: Any, columns: tuple[str, ...]) -> None:
    found = parse(text, [])
    assert found.columns == columns and not found.free_words
    assert found.context_parts[:1] == (() if context is None else (context,))


@pytest.mark.parametrize("text", ["'", '"a', "reason='x", "a 'b"])
def test_a_quotation_that_does_not_end_is_said(text: str) -> None:
    with pytest.raises(ValidationError):
        parse(text, [])
