"""The admin's list of changes, continued in the archive."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bemi_django.admin.search import archive_search
from bemi_django.archive import backwards, part, storing
from tests.integration.archive.conftest import Bemi
from tests.support.audit import LIST, visitor
from tests.support.hostile_parameters import HOSTILE
from tests.support.old_months import FIRST, SECOND, remove, write

ARCHIVE = f"{LIST}archive/"
SECRET = "correct horse"
EXACT = "12345678901234567890.123456789012345678901234567890"

# A change may be of any database of the project: each is asked for its name.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def archived(bemi: Bemi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten changes in two months, several files and pieces, that the log does not have any more."""
    monkeypatch.setattr(storing, "PART_ROWS", 4)
    monkeypatch.setattr(part, "_ROWS", 3)
    monkeypatch.setattr(backwards, "_ROWS", 2)
    for number in range(1, 8):
        write(number, operation="DELETE" if number == 2 else "UPDATE")
    write(8, SECOND, table="tag", context=json.dumps({"user_id": 8}))
    exact = f'{{"id": 9, "password": "{SECRET}", "n": {EXACT}}}'
    write(9, SECOND, table="auth_user", before=exact, after=exact.replace("9,", "10,"))
    write(10, SECOND, context=json.dumps({"SQL": f"SELECT '{SECRET}'"}))
    bemi("archive", "--before", "2003-07", "--keep")
    remove(FIRST)
    remove(SECOND)


def numbers(client: Client, query: str = "") -> list[int]:
    response = client.get(f"{ARCHIVE}{query}")
    assert response.status_code == 200
    return [item.row.change.position // 8 for item in response.context["rows"]]


def test_the_list_leads_to_the_archive_which_has_its_filters(admin_client: Client, archived: None) -> None:
    page = admin_client.get(f"{LIST}?operation=UPDATE").content.decode()
    (link,) = re.findall(rf'href="({ARCHIVE}[^"]*)"', page)
    assert link == f"{ARCHIVE}?operation=UPDATE"
    assert numbers(admin_client, "?operation=UPDATE") == [10, 9, 8, 7, 6, 5, 4, 3, 1]
    assert numbers(admin_client, "?operation=DELETE") == [2]
    assert numbers(admin_client, "?table=tag") == [8]
    assert numbers(admin_client, "?user=8") == [8]
    assert numbers(admin_client, "?q=r3") == [3]
    assert numbers(admin_client, "?q=task:Sleep&operation=DELETE") == [2]
    assert numbers(admin_client, "?since=2003-06-01") == [10, 9, 8]
    assert numbers(admin_client, "?until=2003-05-31&table=todo") == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(admin_client, "?q=nothing") == []
    assert numbers(admin_client, "?since=never") == []


def test_pages_follow_each_other_without_gaps(
    admin_client: Client, archived: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_search, "SIZE", 3)
    for budget in (3600.0, -1.0):
        monkeypatch.setattr(archive_search, "BUDGET_SECONDS", budget)
        found, query, pages = [], "", 0
        while query is not None:
            response = admin_client.get(f"{ARCHIVE}{query}")
            found += [item.row.change.position // 8 for item in response.context["rows"]]
            query, pages = response.context["older"], pages + 1
        assert found == list(range(10, 0, -1))
        assert pages >= 4


def test_values_are_shown_with_every_digit_and_masked(admin_client: Client, archived: None) -> None:
    assert EXACT in content(admin_client)
    assert SECRET in content(admin_client)
    seen = content(visitor("bemi_django.view_change"))
    assert EXACT in seen
    assert SECRET not in seen
    refused = visitor("bemi_django.view_change", name="bob").get(f"{ARCHIVE}?q=password:x")
    assert refused.context["form"].errors and not refused.context["rows"]


def content(client: Client) -> str:
    return client.get(ARCHIVE).content.decode()


def only_tags(request: Any, changes: Any) -> Any:
    return changes.filter(table="tag", pk__in=type(changes)(changes.model).filter(table="tag").values("pk"))


def test_the_scope_and_the_permission_rule_the_archive(archived: None, settings: Any) -> None:
    assert visitor(name="nobody").get(ARCHIVE).status_code == 403
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_tags"
    assert numbers(visitor("bemi_django.view_change")) == [8]


def test_an_archive_that_cannot_be_read_is_said_without_its_address(
    admin_client: Client, archived: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "archive" / SECOND / "part-00000.parquet").write_bytes(b"PAR1")
    page = content(admin_client)
    assert "The archive cannot be read" in page and str(tmp_path) not in page
    assert "part-00000.parquet cannot be read" in caplog.text
    (tmp_path / "archive" / SECOND / "manifest.json").write_text("{}")
    assert "The archive cannot be read" in content(admin_client)


def test_a_place_that_is_none_is_not_found(admin_client: Client, archived: None) -> None:
    for before in ("x", "2003-05", "2003-13.0.0", "2003-05.-1.0", "2003-05.0.0\0"):
        assert admin_client.get(ARCHIVE, {"before": before}).status_code == 404
    assert numbers(admin_client, "?before=2003-05.999.999999999") == [7, 6, 5, 4, 3, 2, 1]


def test_no_hostile_value_makes_the_page_fail(admin_client: Client, archived: None) -> None:
    names = ("q", "table", "operation", "user", "endpoint", "since", "until", "before")
    for number, value in enumerate(HOSTILE):
        for name in {"q", names[number % len(names)]}:
            query = urlencode({name: value}, errors="surrogatepass")
            assert admin_client.get(f"{ARCHIVE}?{query}").status_code in (200, 404), (name, value)


def test_without_an_archive_there_is_no_page_and_no_link(admin_client: Client, settings: Any) -> None:
    assert admin_client.get(ARCHIVE).status_code == 404
    assert "archive" not in admin_client.get(LIST).content.decode()


def test_the_page_asks_as_much_for_many_changes_as_for_few(admin_client: Client, archived: None) -> None:
    def queries(query: str, count: int) -> int:
        with CaptureQueriesContext(connection) as found:
            assert len(numbers(admin_client, query)) == count
        return len([one for one in found if "_bemi_archive" not in one["sql"]])

    queries("", 10)
    assert queries("", 10) == queries("?q=r3", 1)
