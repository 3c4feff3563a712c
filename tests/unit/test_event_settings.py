"""Wrong settings of events are said with what to do."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps

from bemi_django.checks import check_settings


def found() -> list[tuple[str, str | None]]:
    return [(one.msg, one.hint) for one in check_settings() if one.id == "bemi.E024"]


@pytest.mark.parametrize("setting", ["BEMI_AUTH_EVENTS", "BEMI_ADMIN_EVENTS"])
def test_they_are_true_or_false(setting: str, settings: Any) -> None:
    for value in (True, False):
        setattr(settings, setting, value)
        assert found() == []
    setattr(settings, setting, "yes")
    assert found() == [(f"{setting} is 'yes'.", "Set it to True or False.")]


def test_log_ins_need_the_signals_of_auth(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BEMI_AUTH_EVENTS = True
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    ((message, hint),) = found()
    assert message == "BEMI_AUTH_EVENTS has no effect." and "django.contrib.auth" in str(hint)
