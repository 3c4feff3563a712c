"""Where a page is: in a list, in time, and what its window is called."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format

from bemi_django.admin.display.site_time import local
from bemi_django.models import Change
from tests.support.audit import LIST, record

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture
def admin(admin_client: Client) -> Client:
    return admin_client


def test_a_change_knows_its_neighbours_in_the_list_that_led_to_it(admin: Client) -> None:
    for number in range(1, 7):
        record(number, table="tag" if number % 2 else "todo")
    first = admin.get(f"{LIST}?view=rows&table=tag&older={change_of(6).pk}")
    (link,) = re.findall(rf'href="([^"]*{change_of(3).pk}/change/[^"]*)"><time', first.content.decode())
    response = admin.get(link.replace("&amp;", "&"))
    neighbours = response.context["in_list"]
    assert str(change_of(5).pk) in neighbours.newer and str(change_of(1).pk) in neighbours.older
    assert neighbours.url == f"{LIST}?view=rows&table=tag"
    assert f'<a href="{LIST}?view=rows&amp;table=tag">' in response.content.decode()
    oldest = admin.get(neighbours.older).context["in_list"]
    assert oldest.older is None and str(change_of(3).pk) in oldest.newer
    # Without a list, or with one that selects nothing, there are none.
    assert admin.get(f"{LIST}{change_of(3).pk}/change/").context["in_list"] is None
    for filters in ("since=x", "table=nosuch", "%00", "a=b&" * 20):
        found = admin.get(f"{LIST}{change_of(3).pk}/change/", {"_changelist_filters": filters})
        assert found.status_code == 200


def change_of(number: int) -> Change:
    return Change.objects.get(position=number * 8)


@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "naive"])
def test_rows_say_how_long_ago_and_exactly_when(admin: Client, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Berlin"
    record(1, committed_at=timezone.now() - timedelta(hours=5, minutes=3))
    record(2, committed_at=timezone.now() + timedelta(minutes=3))
    response = admin.get(f"{LIST}?view=rows")
    assert [row.ago for row in response.context["rows"]] == ["just now", "5\xa0hours ago"]
    exact = date_format(local(change_of(1).committed_at), "Y-m-d H:i:s.u")
    assert f'title="{exact} Europe/Berlin"' in response.content.decode()


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("", "Changes"),
        ("activity/?user=7", "Activity"),
        ("health/", "Health"),
        ("deleted/", "Deleted objects"),
        ("{id}/change/", "UPDATE todo Wake up | Change"),
        ("revert/?change={id}", "todo Wake up | Revert the change"),
    ],
)
def test_the_window_is_named_after_its_page(admin: Client, path: str, title: str) -> None:
    change = record(1)
    text = admin.get(f"{LIST}{path.format(id=change.pk)}").content.decode()
    assert re.findall(r"<title>(.*?) \| Django site admin</title>", text) == [title]
    levels = [int(level) for level in re.findall(r"<h(\d)", text.partition('id="content"')[2])]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
