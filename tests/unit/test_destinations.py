"""Which destination has which changes, by ``BEMI_DESTINATIONS``."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from bemi_django import conf, destinations
from bemi_django.exceptions import BemiError, ReplicationError
from bemi_django.log.querysets.change_queryset import ChangeQuerySet
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.models import Change
from bemi_django.wire.division import destinations_in, is_division, row_hash

PLACES = [("shop", "public", "orders"), ("shop", "public", "visit_1"), ("crm", "public", "visit_1")]


@pytest.fixture
def divided(settings: Any) -> Any:
    settings.BEMI_DESTINATION = "log"
    settings.BEMI_DESTINATIONS = {
        "crm": {"databases": ["crm*"]},
        "visits": {"tables": ["public.visit_*"], "hash": "1/2"},
        "more": {"hash": "1/3"},
    }
    return settings


def test_the_first_that_meets_all_conditions_has_a_change(divided: Any) -> None:
    division = destinations.division()
    of_orders, of_visits, of_crm = (
        {division.destination_of(*place, str(key)) for key in range(200)} for place in PLACES
    )
    assert of_orders == {"more", "log"}
    assert of_visits == {"visits", "more", "log"}
    assert of_crm == {"crm"}


def test_parts_by_hash_are_about_equal_and_have_rows_of_all_lanes(settings: Any) -> None:
    settings.BEMI_DESTINATIONS = {"b": {"hash": "1/2"}}
    division = destinations.division()
    mine = [key for key in map(str, range(4000)) if division.destination_of(*PLACES[0], key) == "b"]
    assert 1800 < len(mine) < 2200
    assert {row_hash(*PLACES[0][1:], key) % 4 for key in mine} == {0, 1, 2, 3}


def test_the_destinations_of_a_table_and_of_a_database(divided: Any) -> None:
    division = destinations.division()
    assert [division.of_table(*place) for place in PLACES] == [
        ["more", "log"],
        ["visits", "more", "log"],
        ["crm"],
    ]
    assert [division.of_database(name) for name in ("shop", "crm_2")] == [["visits", "more", "log"], ["crm"]]
    divided.BEMI_DESTINATIONS = {"orders": {"tables": ["orders"]}}
    division = destinations.division()
    assert division.of_table(*PLACES[0]) == ["orders"]
    assert division.of_table(*PLACES[1]) == ["log"]
    assert division.of_database("shop") == ["orders", "log"]


def test_a_destination_is_chosen_for_a_while(divided: Any) -> None:
    assert destinations.aliases() == ["log", "crm", "visits", "more"]
    with pytest.raises(BemiError, match=r"several destinations .*: log, crm.*with --destination which one"):
        destinations.require_choice("which one is meant")
    with pytest.raises(BemiError, match="log, crm, visits, more; no"):
        destinations.require_one("no")
    with destinations.choosing("crm"):
        destinations.require_choice("which one is meant")
        assert conf.destination() == "crm"
        assert destinations.of_table(*PLACES[0]) == ["crm"]
    assert conf.destination() == "log"
    with (
        pytest.raises(BemiError, match="'nowhere' is no destination of the log: use one of log, crm"),
        destinations.choosing("nowhere"),
    ):
        """It is not entered."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["b"], "must be {alias: conditions}"),
        ({"log": {"hash": "1/2"}}, "has 'log', which is BEMI_DESTINATION"),
        ({"b": {}}, "has 'b', which needs conditions"),
        ({"b": {"table": ["x"]}}, "has the condition 'table' for 'b': use databases, hash, tables"),
        ({"b": {"tables": "public.x"}}, "for 'b': patterns must be a list of texts"),
        ({"b": {"tables": ["a.b.c"]}}, "for 'b': it must be table or schema.table"),
        ({"b": {"databases": []}}, "for 'b': an empty list"),
        ({"b": {"hash": "3/2"}}, "for 'b': hash must be a part of parts"),
        ({"b": {"hash": 0.5}}, "for 'b': hash must be a part of parts"),
    ],
)
def test_what_is_no_division_is_refused(settings: Any, value: Any, message: str) -> None:
    settings.BEMI_DESTINATION, settings.BEMI_DESTINATIONS = "log", value
    with pytest.raises(ImproperlyConfigured, match=message.replace("{", r"\{")):
        destinations.division()


def test_everywhere_refuses_what_several_cannot_answer(settings: Any) -> None:
    everywhere = Change.objects.everywhere()
    with pytest.raises(AttributeError, match="'aggregate' is nothing that several destinations are asked"):
        everywhere.aggregate()
    with pytest.raises(BemiError, match="no places from their end"):
        everywhere[-5:]
    assert repr(everywhere) == "<ChangesEverywhere of default>"


def test_changes_of_two_destinations_are_not_combined(divided: Any) -> None:
    here, there = (ChangeQuerySet(Change, using=alias) for alias in ("log", "crm"))
    with pytest.raises(BemiError, match=r"cannot be combined: ask Change.objects.everywhere\(\)"):
        here | there


def test_a_division_has_a_fingerprint_of_its_own(divided: Any) -> None:
    found = destinations.division().fingerprint
    assert destinations_in(found) == ["log", "crm", "visits", "more"]
    assert destinations.division().fingerprint == found
    others = [{**divided.BEMI_DESTINATIONS, "more": {"hash": "2/3"}}]
    others.append(dict(reversed(divided.BEMI_DESTINATIONS.items())))
    others.append({**divided.BEMI_DESTINATIONS, "crm": {"databases": ["crm"]}})
    for other in others:
        divided.BEMI_DESTINATIONS = other
        assert destinations.division().fingerprint != found
    divided.BEMI_DESTINATIONS = {}
    assert destinations.division().fingerprint == ""
    assert destinations_in("") == []
    assert is_division(found) and is_division("")
    assert not any(map(is_division, ("{", "1", '["x", 1]', "null")))


def test_a_former_destination_that_is_unknown_is_named() -> None:
    ask = worker_config("default").ask_destination
    assert ask is not None
    with pytest.raises(ReplicationError, match="for the destination gone, which is no alias of DATABASES"):
        ask("gone")


def test_a_log_that_fails_is_not_the_chosen_one_afterwards(divided: Any) -> None:
    def ask() -> None:
        for alias in destinations.aliases():
            with destinations.here(alias):
                assert destinations.current() != "visits", alias

    error = None
    try:
        ask()
    except AssertionError as raised:
        # Its traceback keeps what the loop has.
        error = raised
    assert error is not None and not destinations.is_chosen() and not destinations.are_all_meant()
