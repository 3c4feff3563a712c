"""The pages work with the rights that ``bemi grants`` gives to a reader, and with fewer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from bemi_django.models import AlertRule, Change, SavedView
from tests.support.audit import LIST, record, visitor

# It makes roles of its own.
pytestmark = [pytest.mark.administrator, pytest.mark.django_db(databases=["default", "other"])]
PERMISSIONS = (
    *(f"bemi_django.{name}_change" for name in ("view", "export", "revert")),
    "todos.view_todo",
    "bemi_django.view_health",
    "bemi_django.share_savedview",
    *(f"bemi_django.{name}_alertrule" for name in ("view", "add", "change", "delete")),
)
RULES = "/admin/bemi_django/alertrule/"


def script() -> str:
    found = io.StringIO()
    call_command("bemi", "grants", "--worker", "some_worker", "--reader", "some_reader", stdout=found)
    return found.getvalue()


@pytest.fixture
def change(settings: Any) -> Change:
    settings.BEMI_ALERTS = True
    return record(1, operation="DELETE")


@pytest.fixture
def ann(change: Change) -> Iterator[Client]:
    client = visitor(*PERMISSIONS)
    with connection.cursor() as cursor:
        cursor.execute(script())
        # The tables of the project, but not the log.
        cursor.execute(
            "SELECT format('GRANT ALL ON %s TO some_reader', c.oid::regclass) "
            "FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'S') "
            "AND NOT c.relispartition"
        )
        for (line,) in cursor.fetchall():
            cursor.execute(line)
        cursor.execute("SET ROLE some_reader")
        yield client
        cursor.execute("RESET ROLE")


def pages(change: Change) -> list[str]:
    return [
        "?view=actions", "?view=rows", "?operation=DELETE&view=actions", "?q=42&view=actions",
        "activity/", "activity/?user=7", "activity/?format=csv", "health/", "export/?format=csv",
        "deleted/", "views/", "request/?id=r1", f"transaction/{change.pk}/", f"{change.pk}/change/",
        f"revert/?change={change.pk}", "timeline/todos/todo/1/", "timeline/todos/todo/1/?field=task",
    ]  # fmt: skip


def test_every_page_works_with_the_rights_of_a_reader(ann: Client, change: Change) -> None:
    for page in pages(change):
        assert ann.get(f"{LIST}{page}").status_code == 200, page
    saved = ann.post(f"{LIST}views/", {"query": "operation=DELETE", "name": "Losses", "is_default": "on"})
    view = SavedView.objects.get()
    assert saved.status_code == 302 and view.name == "Losses"
    assert ann.get(LIST).status_code == 302
    assert ann.post(f"{LIST}views/{view.pk}/", {"delete": ""}).status_code == 302
    rule = {"name": "Losses", "kind": "filter", "filter": "operation=DELETE", "threshold": 0}
    given = {**rule, "is_active": "on", "channel": "mail", "recipients": "ann@example.org"}
    assert ann.post(f"{RULES}add/", given).status_code == 302
    key = AlertRule.objects.get().pk
    for page in ("", "add/", f"{key}/change/", f"{key}/delete/"):
        assert ann.get(f"{RULES}{page}").status_code == 200, page


def test_without_the_rights_there_are_no_saved_views_and_no_rules(ann: Client, change: Change) -> None:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        cursor.execute("REVOKE UPDATE ON _bemi.saved_views FROM some_reader")
        cursor.execute("REVOKE SELECT ON _bemi.alert_rules FROM some_reader")
        cursor.execute("SET ROLE some_reader")
    for page in pages(change):
        assert ann.get(f"{LIST}{page}").status_code == 200, page
    filtered = ann.get(f"{LIST}?operation=DELETE&view=actions").content.decode()
    assert "Save this view" not in filtered and "Alert me" not in filtered
    assert ann.get("/admin/").status_code == 200
    given = {"query": "operation=DELETE", "name": "Losses"}
    assert ann.post(f"{LIST}views/", given).status_code == 403
    assert ann.get(RULES).status_code == 403


def test_who_gets_no_alerts_gets_no_right_to_rules(settings: Any) -> None:
    settings.BEMI_ALERTS = False
    lines = script()
    assert '_bemi.saved_views TO "some_reader"' in lines and "_bemi.alert_rules" not in lines
