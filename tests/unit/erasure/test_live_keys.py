"""Keys of the log, of which one may be that of a row that is still there."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.erasure.live_keys import _parts
from bemi_django.log.live.live_tables import LiveTable, Unique


@pytest.mark.parametrize(
    ("columns", "documents", "key", "parts"),
    [
        (("a",), (), "x", ["x"]),
        (("a",), (), "1", ["1"]),
        (("a",), ("a",), '"x"', ["x"]),
        (("a",), ("a",), "null", [None]),
        (("a", "b"), ("a",), '["x", 1]', ["x", 1]),
        # Of earlier types of the column, or of another key.
        (("a",), ("a",), "x", None),
        (("a", "b"), (), "x", None),
        (("a", "b"), (), "1", None),
        (("a", "b"), (), "[1, 2, 3]", None),
    ],
)
def test_a_key_has_the_values_of_which_it_is_printed(
    columns: tuple[str, ...], documents: tuple[str, ...], key: str, parts: list[Any] | None
) -> None:
    primary = Unique("key", columns, True, False, False, ())
    table = LiveTable(
        ("public", "t"), columns, frozenset(), {}, {}, (primary,), (), documents=frozenset(documents)
    )
    assert _parts(table, key) == parts
