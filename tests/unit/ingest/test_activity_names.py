"""By what a context lets its change be counted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bemi_django.ingest.stitching.activity_names import names_of


@pytest.mark.parametrize(
    ("context", "names"),
    [
        ({}, [("outside", "", "")]),
        ({"db_user": "ann"}, [("outside", "ann", "")]),
        ({"request_id": "x"}, []),
        ({"user_id": 7, "tenant": "acme"}, [("user", "7", "acme")]),
        ({"user_id": "", "tenant": "acme"}, []),
        ({"endpoint": "/a/12/b/", "method": "PUT"}, [("endpoint", "/a/<id>/b/", "PUT")]),
        ({"endpoint": "/a/12/", "route": "/a/<pk>/"}, [("endpoint", "/a/<pk>/", "")]),
        ({"task": "nightly", "command": "import"}, [("task", "nightly", ""), ("command", "import", "")]),
        ({"user_id": "u" * 300}, [("user", "u" * 200, "")]),
    ],
)
def test_a_context_is_counted_by_what_it_says(
    context: dict[str, Any], names: list[tuple[str, str, str]]
) -> None:
    assert names_of(orjson.dumps(context)) == tuple(names)


@pytest.mark.parametrize(
    "context", [b'{"user_id": 1.5}', b'{"task": true}', b'{"method": [], "route": "/"}', b"[1]", b"{", b"7"]
)
def test_what_is_printed_in_ways_of_its_own_is_left_to_the_database(context: bytes) -> None:
    assert names_of(context) is context
