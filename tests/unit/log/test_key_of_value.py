"""The key of a row in the log, from its value in Django."""

from __future__ import annotations

import datetime
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from bemi_django.admin.access.logged_models import parse_key
from bemi_django.log import keys
from bemi_django.log.keys import key_of, key_of_value, stored_value

_UTC = datetime.timezone.utc
_ID = uuid.UUID("5f1b3c2e-4d5a-46b7-a8c9-d0e1f2a3b4c5")


class PrefixedField(models.UUIDField):  # type: ignore[type-arg]
    """A key of a project's own: what is sent to the database is known to one method only."""

    def to_python(self, value: Any) -> Any:
        return value if value is None or str(value).startswith("key_") else f"key_{uuid.UUID(str(value)).hex}"

    def get_prep_value(self, value: Any) -> Any:
        return value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return uuid.UUID(value.removeprefix("key_"))


class Encoder(json.JSONEncoder):
    def default(self, value: Any) -> Any:
        return {"number": str(value)}


class WrappedField(models.JSONField):
    """JSON in an envelope, which the driver's own type holds."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value({"in": value}, connection, prepared)


@pytest.mark.parametrize(
    ("field", "value", "names", "logged"),
    [
        (models.UUIDField, _ID, [str(_ID), _ID.hex], str(_ID)),
        (models.DateField, datetime.date(2026, 1, 2), ["2026-01-02", "2026-1-2"], "2026-01-02"),
        (
            models.DateTimeField,
            datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=_UTC),
            ["2026-01-02 03:04:05+00:00", "2026-01-02T05:04:05+02:00"],
            "2026-01-02 03:04:05+00",
        ),
        (models.BooleanField, True, ["True", "t"], "t"),
        (
            lambda **options: models.DecimalField(max_digits=9, decimal_places=2, **options),
            Decimal("1.5"),
            ["1.5", "1.50", "01.500"],
            "1.50",
        ),
        (PrefixedField, f"key_{_ID.hex}", [f"key_{_ID.hex}"], str(_ID)),
    ],
    ids=["uuid", "date", "datetime", "boolean", "decimal", "of a project"],
)
@isolate_apps("tests.shop")
def test_any_name_of_a_key_is_the_key_of_the_log(
    field: Any, value: Any, names: list[str], logged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No database has the table: its key is that of the model.
    monkeypatch.setattr(keys, "_columns", lambda model, alias: None)

    class Keyed(models.Model):
        id = field(primary_key=True)

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return str(self.pk)

    assert key_of_value(Keyed, value) == key_of(Keyed(pk=value)) == logged
    for name in [*names, logged]:
        assert key_of_value(Keyed, parse_key(Keyed, name)) == logged, name


@isolate_apps("tests.shop")
def test_a_value_is_what_the_field_sends_to_the_database() -> None:
    class Keyed(models.Model):
        plain = models.JSONField(encoder=Encoder)
        wrapped = WrappedField(encoder=Encoder)

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return "of no row"

    value = {"a": [Decimal("1.10"), None]}
    sent = {"a": [{"number": "1.10"}, None]}
    assert stored_value(Keyed._meta.get_field("plain"), value) == sent
    assert stored_value(Keyed._meta.get_field("wrapped"), value) == {"in": sent}
