"""``BEMI_RETENTION``, ``BEMI_LEGAL_HOLD`` and ``BEMI_PRUNE_AT``."""

from __future__ import annotations

from datetime import datetime, time, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bemi_django.checks import check_settings
from bemi_django.retention.former_names import FormerName
from bemi_django.retention.former_rules import with_former_names
from bemi_django.retention.nightly import seconds_until
from bemi_django.retention.periods import NamedRule, parse, time_of_day
from bemi_django.retention.table_rule import TableRule
from tests.shop.models import Category


def test_rules_are_of_models_and_tables_and_for_all_others() -> None:
    retention = {"default": "7 years", "shop.category": "1 day", "a.b": "2 weeks", "x.y": "forever"}
    assert parse(retention, ["shop.Category", "a.b"]) == [
        NamedRule("", None, "7 years"),
        NamedRule("shop.category", Category, "1 day"),
        NamedRule("a.b", None, "2 weeks"),
        NamedRule("x.y"),
        NamedRule("shop.Category", Category, is_held=True),
        NamedRule("a.b", is_held=True),
    ]
    assert parse({'"a.b".c': "1 day"}, ['"shop".visit']) == [
        NamedRule('"a.b".c', None, "1 day"),
        NamedRule('"shop".visit', is_held=True),
    ]
    assert parse({}, True) == parse({}, ["*"]) == [NamedRule("", is_held=True)]
    assert parse({}, False) == parse({}, []) == parse({}, None) == []


WRONG: dict[str, tuple[Any, ...]] = {
    "BEMI_RETENTION": (
        ["shop.Category"],
        *(
            {"default": period}
            for period in ("", "30", "0 days", "-1 days", "1 hour", 30, None, "1001 years")
        ),
        *({name: "1 day"} for name in ("category", "shop.Ctegory", "a.b.c", '"a.b"', "a.", ".b", 1)),
    ),
    "BEMI_LEGAL_HOLD": ("shop.Category", 1, ["category"], ["shop.Ctegory"], ["*", "a.b"]),
    "BEMI_PRUNE_AT": ("3:30", "24:00", "night", 3, time(3)),
}


@pytest.mark.parametrize(
    ("setting", "value"), [(setting, value) for setting, values in WRONG.items() for value in values]
)
def test_a_wrong_setting_is_an_error_of_check(settings: Any, setting: str, value: Any) -> None:
    setattr(settings, setting, value)
    (found,) = [message for message in check_settings() if message.id == "bemi.E016"]
    assert found.msg.startswith(setting)


def test_the_next_night_is_found() -> None:
    at = time_of_day("03:30")
    assert at == time(3, 30) and time_of_day(None) is None
    day = datetime(2026, 2, 28, 3, 0, tzinfo=timezone.utc)
    assert seconds_until(at, day) == 1800
    assert seconds_until(at, day.replace(minute=30)) == 86400
    assert seconds_until(at, day.replace(hour=23)) == 4.5 * 3600


def test_the_night_in_which_the_clock_is_put_forward_or_back_has_other_hours() -> None:
    berlin, at = ZoneInfo("Europe/Berlin"), time(3, 30)
    assert seconds_until(at, datetime(2026, 3, 28, 3, 30, tzinfo=berlin)) == 23 * 3600
    assert seconds_until(at, datetime(2026, 10, 24, 3, 30, tzinfo=berlin)) == 25 * 3600
    # 02:30 comes twice, and the second time is no reason to begin again.
    second = datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1)
    assert seconds_until(time(2, 30), second) == 24 * 3600
    assert seconds_until(at, second) == 3600


@pytest.mark.parametrize(
    ("schema", "is_shared", "others", "kept"),
    [
        ("a", False, [], "30 days"),
        ("a", True, [], None),
        ("a", False, [TableRule(None, None, "1 year", False)], "30 days"),
        ("a", True, [TableRule(None, None, "1 year", False)], "1 year"),
        ("a", False, [TableRule("a", "old", "1 week", False)], "30 days"),
        ("a", False, [TableRule("a", "old", "1 year", False)], "1 year"),
        # A rule for one schema would come before the one for all.
        ("a", False, [TableRule(None, "old", "1 year", False)], "1 year"),
        ("a", False, [TableRule(None, "old", None, False)], None),
        (None, True, [TableRule("b", "old", "1 year", False)], None),
        ("a", True, [TableRule("a", "old", None, True)], None),
    ],
)  # fmt: skip
def test_a_former_name_has_the_longest_period_of_those_that_may_be_meant(
    schema: str | None, is_shared: bool, others: list[TableRule], kept: str | None
) -> None:
    rules = {TableRule(schema, "new", "30 days", False), *others}
    found = with_former_names(rules, [FormerName(schema, "new", "a", "old", is_shared)])
    assert [rule for rule in found if (rule.schema, rule.table, rule.held) == (schema, "old", False)] == [
        TableRule(schema, "old", kept, False)
    ]
    assert {rule for rule in rules if rule.held or rule.table != "old"} <= found
