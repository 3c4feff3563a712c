"""The audit view shows which contexts no application has signed, and finds them."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from django.test import Client

from tests.support.audit import LIST, as_rows, listed, record

MARK = re.compile(r'<span class="bemi-tag bemi-unverified" title="[^"]+">unverified</span>')


@pytest.fixture
def changes(db: None) -> list[Any]:
    """A request of user 7, with a change in the middle that says so, too, and another one of psql."""
    of_request = {"user_id": 7, "request_id": "r1"}
    return [
        record(1, context=of_request),
        record(2, context={**of_request, "unverified": True}),
        record(3, context=of_request),
        record(4, context={"db_user": "postgres", "application_name": "psql", "SQL": "x"}),
    ]


def marks(client: Client, address: str) -> int:
    response = client.get(address)
    assert response.status_code == 200
    return len(MARK.findall(response.content.decode()))


def head(client: Client, address: str) -> str:
    """Return what a page says first of what it shows."""
    _, start, rest = client.get(address).content.decode().partition('<header class="bemi-head">')
    assert start
    return rest.partition("</header>")[0]


def test_the_mark_is_a_word_on_each_page(admin_client: Client, changes: list[Any]) -> None:
    assert marks(admin_client, f"{LIST}{as_rows()}") == 1
    # The line of the action, and the change in it.
    assert marks(admin_client, LIST) == 2
    for change, expected in zip(changes, (False, True, False, False), strict=True):
        assert bool(MARK.search(head(admin_client, f"{LIST}{change.pk}/change/"))) == expected
    assert MARK.search(head(admin_client, f"{LIST}request/?id=r1"))
    assert marks(admin_client, f"{LIST}request/?id=r1") == 2


def test_unverified_changes_are_found(admin_client: Client, changes: list[Any], settings: Any) -> None:
    assert listed(admin_client, "?unverified=on") == listed(admin_client, "?q=unverified=true") == [2]
    page = admin_client.get(LIST)
    assert "unverified" not in page.context["form"].fields
    assert "Unverified" not in {preset.label for preset in page.context["presets"]}
    settings.BEMI_CONTEXT_KEYS = "k" * 16
    page = admin_client.get(LIST)
    (preset,) = (preset for preset in page.context["presets"] if preset.label == "Unverified")
    assert "unverified" in page.context["form"].fields and listed(admin_client, preset.query) == [2]
    (chip,) = admin_client.get(f"{LIST}?unverified=on").context["chips"]
    assert (chip.label, chip.value) == ("Unverified", "")


def test_exports_have_the_mark(admin_client: Client, changes: list[Any]) -> None:
    def exported(form: str) -> str:
        response: Any = admin_client.get(f"{LIST}export/?format={form}&unverified=on")
        return b"".join(response.streaming_content).decode()

    (row,) = csv.DictReader(io.StringIO(exported("csv").lstrip("\ufeff")))
    assert json.loads(row["context"])["unverified"] is True
    assert '"unverified"' in exported("jsonl")
