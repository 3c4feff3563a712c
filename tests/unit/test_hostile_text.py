"""Patterns read any text in one pass, and keep nothing for each turn of a loop."""

from __future__ import annotations

import random
import re
import sys
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import bemi_django
from bemi_django.admin.search import search_terms
from bemi_django.masking.spelling import folded
from bemi_django.site_past.read_only import is_query
from bemi_django.time_travel.statements.sql_tokens import Kind, tokens_of

TURNS = 30_000
PACKAGE = Path(bemi_django.__file__).parent


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


def patterns() -> dict[str, re.Pattern[Any]]:
    """Return the patterns of all modules that have possessive quantifiers, each of which is compiled once."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "possessive.compiled" not in path.read_text():
            continue
        module = import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        for name, value in vars(module).items():
            # Some are kept as one of their methods.
            value = getattr(value, "__self__", value)
            if isinstance(value, re.Pattern) and possessive_marks(value):
                found[f"{path.stem}.{name}"] = value
    return found


def possessive_marks(pattern: re.Pattern[Any]) -> Any:
    return re.search(r"[*+?]\+", str(pattern.pattern))


@pytest.mark.parametrize(("name", "pattern"), patterns().items(), ids=patterns())
def test_a_possessive_loop_matches_what_a_usual_one_does(name: str, pattern: re.Pattern[Any]) -> None:
    """Python 3.11.0 to 3.11.4 go on at the wrong place after some of them."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    # It is tried on the characters that it names.
    parts = sorted(
        {*re.sub(r"[\[\]{}()|^+?*]", "", text)[:60], *"a \n-'\"\\,;()*/{}", "--", "''", "/*", "*/"}
    )
    usual: re.Pattern[Any] = re.compile(re.sub(r"(?<=[*+?])\+", "", text), pattern.flags & ~re.UNICODE)
    dice = random.Random(name)
    for _ in range(400):
        tried = "".join(dice.choices(parts, k=dice.randrange(12)))
        value: Any = tried if isinstance(pattern.pattern, str) else tried.encode()
        found, expected = pattern.search(value), usual.search(tried)
        assert (found and found.span()) == (expected and expected.span()), tried
