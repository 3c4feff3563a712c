"""Values as people know them, without a row that they belong to."""

from __future__ import annotations

import pytest
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models

from bemi_django.admin.display.values import shown_value
from bemi_django.admin.display.values.shown_value import choices_of, shown

asked: list[int] = []


class Computed(models.CharField):  # type: ignore[type-arg]
    """A field whose choices the project computes, for instance by a query."""

    @property
    def flatchoices(self) -> list[tuple[str, str]]:
        asked.append(1)
        return [("a", "First"), ("b", "Second")]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_computed_choices_are_asked_for_once_for_all_values_of_a_field(depth: int) -> None:
    field: models.Field[object, object] = Computed()
    value: object = "a"
    for _ in range(depth):
        field, value = ArrayField(field), [value, value]
    asked.clear()
    choices = choices_of(field)
    for _ in range(5):
        assert shown(field, value, choices=choices).text.count("First") == 2**depth
    assert len(asked) == 1


@pytest.mark.parametrize("offset", ["+00", "+05:30", "+00:53:28"])
def test_moments_in_ranges_are_of_the_readers_zone_whatever_their_offset(offset: str) -> None:
    value = f'["1890-01-01 12:00:00{offset}",)'
    found = shown(DateTimeRangeField(), value)
    assert found.kind == "choice" and found.key == value and "1890-01-01" not in found.text
    assert shown_value.shown(DateTimeRangeField(), "empty").kind == "text"
