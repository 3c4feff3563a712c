from __future__ import annotations

import pytest

from bemi_django import wire
from bemi_django.schema import sql


@pytest.mark.parametrize(
    "shared",
    [
        wire.MESSAGE_PREFIX,
        wire.COMMENT_START,
        wire.COMMENT_END,
        wire.SQL_KEY,
        wire.CONTEXT_SETTING,
        str(wire.MAX_SQL_CHARACTERS),
    ],
)
def test_the_trigger_function_has_the_same_strings(shared: str) -> None:
    assert shared in sql.read("capture_v1_up")
