"""Every page with and without time zones."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.audit import LIST, listed, make_month, record

pytestmark = pytest.mark.django_db(databases=["default", "other"])
#: The clock of the site; changes are committed at a known moment of it.
ZONES = ["Europe/Berlin", "Asia/Kathmandu", "UTC"]


@pytest.fixture(params=[True, False], ids=["USE_TZ", "naive"])
def site(request: Any, settings: Any) -> bool:
    settings.USE_TZ = request.param
    return bool(request.param)


@pytest.fixture(params=ZONES)
def zone(request: Any, settings: Any, site: bool) -> str:
    settings.TIME_ZONE = request.param
    connection.ensure_timezone()
    return str(request.param)


def committed(moment: str) -> None:
    """Make a moment with an offset the time of all changes, as the worker writes it."""
    make_month(datetime.fromisoformat(moment))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET committed_at = %s, queued_at = %s, created_at = %s", [moment] * 3)


@pytest.fixture
def todo(zone: str) -> Todo:
    todo = Todo.objects.create(task="Sleep")
    record(
        1,
        primary_key=str(todo.pk),
        before={"id": todo.pk, "task": "a"},
        after={"id": todo.pk, "task": "Sleep"},
    )
    record(2, primary_key="-99", operation="DELETE", before={"id": -99, "task": "Gone"}, after={})
    record(3, operation="GAP", table="", primary_key=None, before={}, after={})
    return todo


PAGES = [
    *("", "?since=2020-01-01&until=2099-12-31", "?operation=UPDATE", "?user=7", "?outside=on", "?q=reason=x"),
    *("activity/", "activity/?span=day", "activity/?span=quarter", "deleted/", "health/"),
    *("timeline/todos/todo/{todo}/", "timeline/todos/todo/{todo}/?at=2026-01-01T00:00:00"),
    *("timeline/todos/todo/{todo}/?and=2026-01-01T00:00:00%2B02:00", "timeline/todos/todo/-99/"),
    *("{change}/change/", "revert/?change={change}"),
    *("export/?format=csv", "export/?format=jsonl", "export/?format=parquet"),
]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_works(todo: Todo, admin_client: Client, page: str) -> None:
    change = Change.objects.get(position=8)
    response: Any = admin_client.get(f"{LIST}{page.format(todo=todo.pk, change=change.pk)}")
    assert response.status_code == 200
    if response.streaming:
        assert b"".join(response)


def test_days_are_those_of_the_site(zone: str, admin_client: Client) -> None:
    record(1)
    # Half past eleven in the evening in Berlin, a quarter past four in the morning in Kathmandu.
    committed("2026-03-01T22:30:00+00:00")
    day = {"Europe/Berlin": "2026-03-01", "Asia/Kathmandu": "2026-03-02", "UTC": "2026-03-01"}[zone]
    other = {"2026-03-01": "2026-03-02", "2026-03-02": "2026-03-01"}[day]
    assert listed(admin_client, f"?since={day}&until={day}") == [1]
    assert listed(admin_client, f"?since={other}&until={other}") == []


def test_files_have_moments_with_offsets(zone: str, admin_client: Client) -> None:
    record(1)
    committed("2026-03-01T22:30:00+00:00")
    response: Any = admin_client.get(f"{LIST}export/?format=csv")
    header, line = b"".join(response).decode().splitlines()
    cells = dict(zip(header.split(","), next(csv.reader([line])), strict=True))
    moment = datetime.fromisoformat(cells["committed_at"])
    assert moment == datetime(2026, 3, 1, 22, 30, tzinfo=timezone.utc)


def test_a_moment_is_one_of_the_site(todo: Todo, admin_client: Client) -> None:
    committed("2026-03-01T22:30:00+00:00")
    local = Change.objects.get(position=8).committed_at
    from bemi_django.admin.display.site_time import as_input

    def task(moment: Any) -> str:
        page = f"{LIST}timeline/todos/todo/{todo.pk}/?at={as_input(moment)}"
        lines = {line.label: line.pair.before for line in admin_client.get(page).context["lines"]}
        return str(lines["task"].text)

    assert task(local - timedelta(seconds=1)) == "a"
    assert task(local + timedelta(seconds=1)) == "Sleep"


def test_a_refused_moment_stays_visible(admin_client: Client) -> None:
    todo = Todo.objects.create(task="Sleep")
    page = f"{LIST}timeline/todos/todo/{todo.pk}/?at=yesterday"
    text = admin_client.get(page).content.decode()
    assert "“yesterday” is not a valid date and time." in text
    text = admin_client.get(f"{LIST}?since=2026-02-30").content.decode()
    assert "“2026-02-30” is not a valid date." in text
    assert "export/?" not in text


def test_a_moment_to_come_is_said(admin_client: Client) -> None:
    todo = Todo.objects.create(task="Sleep")
    page = f"{LIST}timeline/todos/todo/{todo.pk}/"
    assert "This time is in the future" in admin_client.get(f"{page}?at=2999-01-01T00:00:00").content.decode()
    assert (
        "This time is in the future"
        not in admin_client.get(f"{page}?at=2020-01-01T00:00:00").content.decode()
    )


def test_days_to_come_are_said(admin_client: Client) -> None:
    assert "These days are in the future." in admin_client.get(f"{LIST}?since=2999-01-01").content.decode()
    assert "in the future" not in admin_client.get(f"{LIST}?since=2020-01-01").content.decode()


def test_one_moment_is_compared_with_the_present(admin_client: Client) -> None:
    todo = Todo.objects.create(task="Sleep")
    record(
        1,
        primary_key=str(todo.pk),
        before={"id": todo.pk, "task": "a"},
        after={"id": todo.pk, "task": "Sleep"},
    )
    context = admin_client.get(f"{LIST}timeline/todos/todo/{todo.pk}/?and=2020-01-01T00:00:00").context
    compared = {line.label: tuple(side and side.text for side in line.pair[:2]) for line in context["lines"]}
    assert compared["task"] == ("a", "Sleep")
    assert "ID" not in compared
