"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bemi_django import get_context, set_context


@pytest.fixture(autouse=True)
def no_context_left_behind() -> Iterator[None]:
    yield
    left = get_context()
    set_context({})
    assert left == {}, "the test left a context behind: use bound_context()"
