"""Patterns read any text in one pass, and keep nothing for each turn of a loop."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable

import pytest

from bemi_django.admin.search import search_terms
from bemi_django.masking.spelling import folded
from bemi_django.site_past.read_only import is_query
from bemi_django.time_travel.statements.sql_tokens import Kind, tokens_of

TURNS = 30_000


def search(text: str) -> None:
    search_terms.parse(text, ["todo"])


def read(statement: str) -> None:
    for _ in tokens_of(statement):
        pass


@pytest.mark.parametrize(
    ("reads", "text"),
    [
        (read, "SELECT 'a' " + "-" * TURNS),
        (read, "SELECT '" + "''" * TURNS),
        (read, "SELECT '" + "''" * TURNS + "'"),
        (read, "SELECT e'" + r"\n" * TURNS + "'"),
        (read, 'SELECT "' + '""' * TURNS + '"'),
        (read, "SELECT 'a'\n" + "--\n" * TURNS),
        (is_query, "SELECT" + " " * 20 * TURNS + ";x"),
        (is_query, "(" * TURNS),
        (is_query, "/*" + "*" * TURNS),
        (is_query, "SELECT " + "INT " * TURNS),
        (search, '"' + r"\"" * TURNS + '"'),
        (search, "a=" + "b" * TURNS),
        (folded, "\\" * 20 * TURNS),
        (folded, r"\x41" * TURNS),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else value.__name__,
)
def test_a_hostile_text_takes_one_pass_and_no_memory_for_each_turn(
    reads: Callable[[str], object], text: str
) -> None:
    tracemalloc.start()
    try:
        reads(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A loop that could be taken back keeps 70 bytes for a character. Python before 3.11 has no others.
    assert peak < 20 * len(text) or sys.version_info < (3, 11)


def test_a_string_goes_on_after_comments() -> None:
    for between in ("\n", " \t\n \n", "-- of it\n", " -- it's\r-- more\n\n"):
        statement = f"'a'{between}'b'"
        assert [(token.kind, token.end) for token in tokens_of(statement)] == [(Kind.OTHER, len(statement))]
    for between in ("", " ", " -- of it", "\n/* */", "\n--"):
        assert len(list(tokens_of(f"SELECT 'a'{between} 'b'"))) > 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\u0041\\u0042", "AB"),
        (r"\x41\102", "AB"),
        (r"\\\\x41\n\\nb", "Ab"),
        (r"a\\\"b", "ab"),
        (r"\\\\", ""),
    ],
)
def test_escapes_are_read_however_many_backslashes_they_have(text: str, expected: str) -> None:
    assert folded(text) == expected
