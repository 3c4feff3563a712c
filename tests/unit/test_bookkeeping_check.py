"""A wrong BEMI_BOOKKEEPING_TABLES is said with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.checks import check_settings


@pytest.mark.parametrize("value", ["*.django_admin_log", [1], ["django_admin_log"], None, {"a.b": 1}])
def test_what_is_no_list_of_patterns_is_an_error(settings: Any, value: Any) -> None:
    settings.BEMI_BOOKKEEPING_TABLES = value
    (found,) = [message for message in check_settings() if message.id == "bemi.E013"]
    assert found.is_serious() and "*.django_admin_log" in str(found.hint)


@pytest.mark.parametrize("value", [[], ["*.django_admin_log"], ("public.audit",)])
def test_lists_of_patterns_are_taken(settings: Any, value: Any) -> None:
    settings.BEMI_BOOKKEEPING_TABLES = value
    assert [message for message in check_settings() if message.id == "bemi.E013"] == []
