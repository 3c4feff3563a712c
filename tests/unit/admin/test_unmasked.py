"""What is noted of masked values that were shown has an end."""

from __future__ import annotations

from typing import Any

import pytest

from bemi_django.admin.access import own_events
from bemi_django.admin.access.own_events import Unmasked


def test_of_an_export_of_any_size_a_hundred_keys_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(own_events, "note", lambda event, **details: noted.append(details))
    unmasked = Unmasked()
    for number in range(1000):
        unmasked.add("public", "user", {"email"}, str(number))
    unmasked.add("public", "tag", {"name"}, None)
    assert unmasked
    assert sum(map(len, unmasked._keys.values())) == 100
    unmasked.note("export")
    assert noted[0]["columns"] == {"public.user": ["email"], "public.tag": ["name"]}
    assert noted[0]["keys"] == {"public.user": sorted(map(str, range(100)))}
    assert not unmasked
