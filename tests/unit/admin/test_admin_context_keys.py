"""Masked keys of contexts are found in their text, wherever else the text has the same words."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.admin.access.context_keys import ContextKeys
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.masking.contexts import MASK
from bemi_django.masking.patterns import parse


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"path": "/a/", "user_id": 7},
        {"user_id": 7},
        {"path": None, "ip": "1"},
        {"path": {"path": "}", "ip": ['"']}, "a": 1},
        {"a": {"path": "/a/"}, "ip": 1.50},
        {'x"path': 1, "path": 2, "xpath": 3},
        {'x"path': 1},
        {"a": '"path": "/a/", ', "path": 'q"u\\'},
        {"SQL": "SELECT '/a/'", "path": "{"},
    ],
    ids=dumps,
)
def test_the_values_of_masked_keys_are_hidden_and_no_others(context: dict[str, Any]) -> None:
    keys = ContextKeys([parse("context->path"), parse("context->ip")])
    found = loads(keys.visible_text(dumps(context)))
    hidden = {name for name in ("path", "ip") if context.get(name) is not None}
    assert found == {**context, **dict.fromkeys(hidden, MASK)}
    assert list(found) == list(context)


@pytest.mark.parametrize("pattern", ["context->p*h", "context->a->path", "context->**->path"])
def test_patterns_of_more_than_a_key_are_matched_as_such(pattern: str) -> None:
    keys = ContextKeys([parse(pattern), parse("context->ip")])
    found = loads(keys.visible_text('{"ip": 1, "path": 2, "a": {"path": 3}}'))
    assert found["ip"] == MASK
    assert (found["path"] == MASK) is (pattern != "context->a->path")
    assert (found["a"]["path"] == MASK) is (pattern != "context->p*h")
