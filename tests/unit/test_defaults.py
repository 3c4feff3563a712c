"""The tables that are not tracked by default."""

from __future__ import annotations

import pytest

from bemi_django.wire.defaults import EXCLUDE, all_excluded


def test_a_project_adds_to_the_default_patterns() -> None:
    assert all_excluded(["public.*"], ["shop.visit"]) == ["shop.visit", *EXCLUDE]


@pytest.mark.parametrize("named", ["public.django_session", "*.django_session"])
def test_a_table_that_is_named_is_not_excluded_by_default(named: str) -> None:
    assert "*.django_session" not in all_excluded(["public.*", named], [])
    assert len(all_excluded(["public.*", named], [])) == len(EXCLUDE) - 1


def test_what_a_project_excludes_takes_precedence() -> None:
    assert "*.django_session" in all_excluded(["public.django_session"], ["*.django_session"])
