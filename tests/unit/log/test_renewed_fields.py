"""Which fields get the present, or the next version, whenever a row is saved."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import models
from django.utils import timezone

from bemi_django.log.values.renewed_fields import is_renewed
from bemi_django.log.values.saved_fields import is_counted, is_saved, next_value
from tests.shop.models import Order


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


class Version(models.IntegerField):  # type: ignore[type-arg]
    def pre_save(self, model_instance: Any, add: bool) -> Any:
        value = (getattr(model_instance, self.attname) or 0) + 1
        setattr(model_instance, self.attname, value)
        return value


class Limited(models.IntegerField):  # type: ignore[type-arg]
    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return min(getattr(model_instance, self.attname), 100)


class Total(models.IntegerField):  # type: ignore[type-arg]
    """Of other fields."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return model_instance.price * 2


class Etag(models.UUIDField):  # type: ignore[type-arg]
    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return uuid4()


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (Version(), True),
        (Etag(), True),
        (Limited(), False),
        (Total(), False),
        (Stamped(), False),
        (Modified(), False),
        (models.IntegerField(default=1), False),
        (models.UUIDField(default=uuid4), False),
    ],
)
def test_a_version_is_known_by_what_it_does(field: Any, expected: bool) -> None:
    field.set_attributes_from_name("field")
    assert is_counted(field) is expected and is_saved(field) is (expected or isinstance(field, Modified))


def test_a_version_goes_on_from_the_one_that_the_row_has() -> None:
    version, tag = Version(), Etag()
    for field in (version, tag):
        field.set_attributes_from_name("field")
    assert next_value(version, 7) == 8
    assert isinstance(next_value(tag, UUID(int=1)), UUID)


class Guarded(models.IntegerField):  # type: ignore[type-arg]
    """It needs an object of a model."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return getattr(model_instance, self.attname) + (0 if model_instance._state.adding else 1)


def test_a_version_is_that_of_an_object_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Guarded()
    field.set_attributes_from_name("number")
    monkeypatch.setattr(field, "model", Order, raising=False)
    assert is_counted(field) and next_value(field, 7) == 8
