"""Which fields get the present whenever a row is saved."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.utils import timezone

from bemi_django.log.values.renewed_fields import is_renewed


class Modified(models.DateTimeField):  # type: ignore[type-arg]
    """As packages have it, without ``auto_now``."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        value = getattr(model_instance, self.attname) if add else timezone.now()
        setattr(model_instance, self.attname, value)
        return value


class Rounded(models.DateTimeField):  # type: ignore[type-arg]
    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return getattr(model_instance, self.attname).replace(microsecond=0)


class Monitor(models.DateTimeField):  # type: ignore[type-arg]
    """When another field was given another value."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return timezone.now() if model_instance.status else None


class Stamped(models.CharField):  # type: ignore[type-arg]
    def pre_save(self, model_instance: Any, add: bool) -> Any:
        raise AssertionError("only moments are asked for")


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (models.DateTimeField(auto_now=True), True),
        (models.DateField(auto_now=True), True),
        (models.TimeField(auto_now=True), True),
        (models.DateTimeField(auto_now_add=True), False),
        (models.DateTimeField(default=timezone.now), False),
        (Modified(), True),
        (Rounded(), False),
        (Monitor(), False),
        (Stamped(), False),
    ],
)
def test_a_field_is_known_by_what_it_does(field: Any, expected: bool, use_tz: bool, settings: Any) -> None:
    settings.USE_TZ = use_tz
    field.set_attributes_from_name("field")
    assert is_renewed(field) is expected
