"""The present, as the log would have it."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from sqlalchemy import Column, Integer, String, Table
from sqlalchemy.ext.declarative import DeferredReflection
from sqlalchemy.orm import registry

from bemi_django.revert.columns import rules_of

TABLE: Any = SimpleNamespace(name=("public", "row"), columns=("id", "at"), key=("id",))


def present_of(field: Any) -> dict[str, Any]:
    field.set_attributes_from_name("at")
    model: Any = SimpleNamespace(_meta=SimpleNamespace(local_concrete_fields=[field]))
    return rules_of(model, TABLE, None).values({})


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Los_Angeles"])
def test_a_moment_is_printed_in_utc(settings: Any, use_tz: bool, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    found = present_of(models.DateTimeField(auto_now=True))["at"]
    assert found.endswith("+00:00")
    assert abs(datetime.fromisoformat(found) - datetime.now(timezone.utc)) < timedelta(hours=1)


def test_days_and_times_are_those_of_the_project() -> None:
    assert date.fromisoformat(present_of(models.DateField(auto_now=True))["at"]).year > 2000
    assert ":" in present_of(models.TimeField(auto_now=True))["at"]


def test_other_columns_are_put_back() -> None:
    assert present_of(models.DateTimeField(auto_now_add=True)) == {}
    assert present_of(models.TextField()) == {}
    assert present_of(models.DateTimeField(auto_now=True, db_column="elsewhere")) == {}


@pytest.mark.parametrize("old", [41, "2001-02-03", "2001-02-03T04:05:06+00:00", str(UUID(int=7))])
def test_a_column_of_the_setting_goes_on_from_the_value_of_the_row(settings: Any, old: Any) -> None:
    settings.BEMI_VERSION_COLUMNS = ["*.at", "row.id"]
    rules = rules_of(None, TABLE, None)
    (new,) = rules.values({"at": old}).values()
    assert new == 42 if old == 41 else new != old and len(new) >= len(old)
    assert rules.values({}) == {} and rules.values({"at": "a tag"}) == {"at": "a tag"}
    assert not rules.puts_back("at") and rules.puts_back("id"), "a key is what identifies the row"
    reacting = rules._replace(reacting={"gone": frozenset({"at"})})
    assert reacting.at_update_of([]).kept == {"gone"}, "a save sets what its trigger waits for"
    assert (
        rules_of(None, TABLE, None, dict.fromkeys(["at", "gone"], frozenset())).values({"at": old}) == {}
    ), "a trigger does it"


@pytest.mark.parametrize(
    ("kind", "schema", "arguments", "old", "new"),
    [
        (Integer, None, {}, 41, 42),
        (Integer, "public", {"version_id_generator": lambda version: (version or 0) + 7}, 41, 48),
        (String, None, {"version_id_generator": lambda version: f"v{int(version[1:]) + 1}"}, "v9", "v10"),
        # The application or the database gives it, or it takes something else than JSON has.
        (Integer, None, {"version_id_generator": False}, 41, 42),
        (String, None, {"version_id_generator": lambda version: version.year}, "a tag", "a tag"),
        (String, None, {"version_id_generator": lambda version: None}, "a tag", "a tag"),
        (Integer, "elsewhere", {}, 41, None),
    ],
)
def test_the_version_of_a_mapped_class_goes_on(
    kind: Any, schema: str | None, arguments: dict[str, Any], old: Any, new: Any
) -> None:
    mappers = registry()
    key = Column("id", Integer, primary_key=True)
    table = Table("row", mappers.metadata, key, Column("at", kind, key="version"), schema=schema)
    base: Any = mappers.generate_base()
    # Mappers keep no class alive. The second one gets its mapper when its table is reflected.
    classes = [type("Row", (), {}), type("Later", (DeferredReflection, base), {"__tablename__": "row"})]
    mappers.map_imperatively(classes[0], table, version_id_col=table.c.version, **arguments)
    try:
        rules = rules_of(None, TABLE, None)
        assert rules.values({"at": old}).get("at") == new and rules.puts_back("at") is (new is None)
    finally:
        mappers.dispose()
        classes.clear()
