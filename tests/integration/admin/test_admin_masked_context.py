"""Masked values of contexts are on no page and cannot be found by searching, unless one may see them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from bemi_django.admin.access.context_keys import ContextKeys
from bemi_django.masking.patterns import parse
from bemi_django.models import Change
from sample_project.todos.models import Todo
from tests.support.audit import LIST, record, visitor

pytestmark = pytest.mark.django_db(databases=["default", "other"])

KEYS = (
    "user_id",
    "tenant",
    "method",
    "endpoint",
    "request_id",
    "parent_request_id",
    "ip",
    "task",
    "command",
    "process",
    "db_user",
    "application_name",
    "reason",
    "trace_id",
    "details",
)
PERMISSIONS = (
    "bemi_django.view_health",
    *(f"bemi_django.{action}_change" for action in ("view", "export", "revert")),
    *(f"todos.{action}_todo" for action in ("view", "add", "change", "delete")),
)


def secret_of(key: str) -> str:
    return f"Zq-{key}-Zq"


def value_of(key: str) -> Any:
    return {"to": secret_of(key), "open": "sesame"} if key == "details" else secret_of(key)


def masked(key: str) -> list[str]:
    return ["context->details->to" if key == "details" else f"context->{key}"]


@pytest.fixture
def changes(db: None) -> list[Change]:
    """Changes that have all keys, and for each key one that has no other beside its request's."""
    Todo.objects.create(pk=1, task="Wake up")
    everything = {key: value_of(key) for key in KEYS}
    found = [
        record(1, context=everything),
        record(2, context=everything, operation="EVENT", before={}, after={}),
        record(3, context=everything, primary_key="9", operation="DELETE", after={}),
        record(4, context=everything, table="", primary_key=None, operation="GAP", before={}, after={}),
    ]
    for number, key in enumerate(KEYS, 5):
        found.append(record(number, context={"method": "POST", key: value_of(key)}))
    return found


@pytest.fixture
def curious(db: None) -> Client:
    return visitor(*PERMISSIONS, name="curious")


@pytest.fixture
def trusted(db: None) -> Client:
    return visitor(*PERMISSIONS, "bemi_django.unmask_change", name="trusted")


def pages(changes: list[Change]) -> dict[str, list[str]]:
    timeline = "timeline/todos/todo/1/"
    own = [f"{change.pk}" for change in changes]
    return {
        "actions": ["", "?records=on"],
        "rows": ["?view=rows"],
        "change": [f"{pk}/change/" for pk in own],
        "transaction": [f"transaction/{pk}/" for pk in own[:2]],
        "request": [f"request/?id={secret_of('request_id')}"],
        "timeline": [timeline],
        "field": [f"{timeline}?field=task"],
        "past": [f"{timeline}?at=2026-01-01T00:00:00"],
        "activity": ["activity/"],
        "deleted": ["deleted/"],
        "health": ["health/"],
        "csv": ["export/?format=csv"],
        "jsonl": ["export/?format=jsonl"],
        "revert": [f"revert/?change={pk}" for pk in own[:1]],
    }


def text_of(client: Client, page: str) -> str:
    response: Any = client.get(f"{LIST}{page}")
    assert response.status_code in (200, 404), (page, response.status_code)
    if response.status_code == 404:
        # A page of Django for developers repeats the address.
        return ""
    return (b"".join(response) if response.streaming else response.content).decode()


def test_masked_values_are_on_no_page(
    changes: list[Change], curious: Client, trusted: Client, settings: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = [pattern for key in KEYS for pattern in masked(key)]
    seen = {}
    for name, addresses in pages(changes).items():
        hidden = "".join(text_of(curious, page) for page in addresses)
        shown = "".join(text_of(trusted, page) for page in addresses)
        assert [key for key in KEYS if secret_of(key) in hidden] == [], name
        seen[name] = {key for key in KEYS if secret_of(key) in shown}
    for name in ("change", "health", "csv", "jsonl"):
        assert seen[name] == set(KEYS), name
    for name in ("actions", "rows", "transaction", "timeline", "activity"):
        assert {"user_id", "endpoint"} <= seen[name], name
    assert "user_id" in seen["deleted"]


def test_masked_values_that_are_shown_are_recorded(
    changes: list[Change], curious: Client, trusted: Client, settings: Any, monkeypatch: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = [pattern for key in KEYS for pattern in masked(key)]
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "bemi_django.admin.access.own_events.note", lambda event, *given, **details: noted.append(details)
    )
    addresses = [
        ("activity", "activity/?format=csv"),
        *((n, a) for n, p in pages(changes).items() for a in p),
    ]
    for name, address in addresses:
        noted.clear()
        text_of(curious, address)
        assert all(not details.get("is_unmasked") and "context" not in details for details in noted), address
        noted.clear()
        text = text_of(trusted, address)
        shown = {key for key in KEYS if secret_of(key) in text}
        recorded = {key for details in noted for key in details.get("context", ())}
        is_file = any(details.get("is_unmasked") for details in noted)
        assert shown <= recorded or is_file, (name, address, shown - recorded)


def test_what_is_not_masked_is_shown(changes: list[Change], curious: Client, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->ip"]
    text = "".join(text_of(curious, page) for some in pages(changes).values() for page in some)
    assert [key for key in KEYS if secret_of(key) not in text] == ["ip"]


def searches(key: str) -> list[dict[str, str]]:
    value, secret = value_of(key), secret_of(key)
    texts = [json.dumps({key: value})]
    if key == "details":
        texts += [json.dumps({key: {"to": secret}}), f"details='{json.dumps({'to': secret})}'"]
        texts += [json.dumps({key: {}}), json.dumps({key: {"open": "sesame"}})]
    else:
        texts += [f"{key}={secret}"]
    found = [{"q": text} for text in texts]
    if key == "request_id":
        found += [{"q": f"request:{secret}"}, {"q": secret}]
    if key == "user_id":
        found += [{"user": secret}, {"user": json.dumps(secret)}]
    if key == "endpoint":
        found += [{"endpoint": secret}]
    return found


def matches(client: Client, query: dict[str, str]) -> list[bool]:
    """Whether the list of actions, the list of rows and an export have anything for a query."""
    found = client.get(LIST, {**query, "records": "on"}).context["actions"]
    listed = client.get(LIST, {**query, "records": "on", "view": "rows"}).context["rows"]
    export: Any = client.get(f"{LIST}export/", {**query, "records": "on", "format": "jsonl"})
    exported = b"".join(export) if export.streaming else b""
    return [bool(found), bool(listed), bool(exported)]


@pytest.mark.parametrize("key", ["user_id", "endpoint", "request_id", "db_user", "reason", "details"])
def test_a_masked_value_is_not_found(
    changes: list[Change], curious: Client, trusted: Client, settings: Any, key: str
) -> None:
    settings.BEMI_MASKED_FIELDS = masked(key)
    for query in searches(key):
        assert matches(curious, query) == [False] * 3, query
        assert any(matches(trusted, query)), query
        filters = {"_changelist_filters": urlencode({**query, "records": "on"})}
        neighbours = curious.get(f"{LIST}{changes[1].pk}/change/", filters).context["in_list"]
        assert neighbours.newer is neighbours.older is None
    if key != "request_id":
        text = curious.get(LIST, searches(key)[0]).content.decode()
        assert f"You may not search the values of {key}." in text


def test_a_masked_user_has_neither_timeline_nor_activity_nor_name(
    changes: list[Change], curious: Client, trusted: Client, settings: Any, django_user_model: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->user_id"]
    user = django_user_model.objects.create(username="Heisenberg")
    record(40, context={"user_id": user.pk})
    for client, is_found in ((trusted, True), (curious, False)):
        for page in ("", "activity/", "timeline/todos/todo/1/"):
            assert ("Heisenberg" in text_of(client, page)) is is_found, page
        for name in (secret_of("user_id"), str(user.pk), "Heisenberg"):
            activity = client.get(f"{LIST}activity/", {"user": name}).context
            assert bool(activity["rows"]) is is_found
            assert bool(activity["total_count"]) is is_found
            steps = client.get(f"{LIST}timeline/todos/todo/1/", {"user": name}).context["steps"]
            assert bool(steps) is is_found
    (card,) = [line for line in curious.get(LIST).context["actions"] if line.last.position == 40 * 8]
    assert (card.actor.label, card.actor.url) == ("user ***", None)


def test_masked_values_are_not_suggested(
    changes: list[Change], curious: Client, trusted: Client, settings: Any
) -> None:
    for client, is_masked in ((curious, True), (trusted, False)):
        for key, offered in (("user_id", "users"), ("endpoint", "endpoints")):
            settings.BEMI_MASKED_FIELDS = masked(key)
            found = client.get(LIST).context["suggestions"]
            assert (secret_of(key) in found[offered]) is not is_masked
            (other,) = {"users", "endpoints"} - {offered}
            assert any("Zq-" in text for text in found[other])


def test_nothing_links_to_a_masked_request(changes: list[Change], curious: Client, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["context->request_id"]
    secret, parent = secret_of("request_id"), secret_of("parent_request_id")
    assert curious.get(f"{LIST}request/", {"id": secret}).status_code == 404
    assert curious.get(f"{LIST}request/", {"id": parent}).status_code == 404
    page = curious.get(f"{LIST}{changes[0].pk}/change/")
    assert (page.context["run_query"], page.context["run_url"]) == (None, None)
    (line,) = [line for line in page.context["context"] if line.name == "parent_request_id"]
    assert line.text == parent and line.url == f"{LIST}?q=parent_request_id%3D{parent}"
    settings.BEMI_MASKED_FIELDS = ["context->parent_request_id"]
    record(41, context={"request_id": "child", "parent_request_id": secret})
    assert curious.get(f"{LIST}request/", {"id": secret}).context["tree"] is None


def test_a_context_that_cannot_be_read_is_not_found(
    changes: list[Change], curious: Client, trusted: Client, settings: Any
) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.notes"]
    record(42, context={"_bemi_invalid": "x"})
    assert matches(trusted, {"q": "_bemi_invalid=x"}) == [True] * 3
    assert matches(curious, {"q": "_bemi_invalid=x"}) == [False] * 3


@pytest.mark.parametrize("pattern", ["context->**->to", "context->*->to"])
def test_a_wildcard_leaves_other_searches(
    changes: list[Change], curious: Client, settings: Any, pattern: str
) -> None:
    settings.BEMI_MASKED_FIELDS = [pattern]
    for query in ({"q": json.dumps({"details": {"to": secret_of("details")}})}, {"user": '{"to": "x"}'}):
        assert matches(curious, query) == [False] * 3
    for query in ({"endpoint": secret_of("endpoint")}, {"q": secret_of("request_id")}, {"q": "ip=Zq-ip-Zq"}):
        assert matches(curious, query) == [True] * 3
    assert curious.get(f"{LIST}request/", {"id": secret_of("request_id")}).status_code == 200


NAMES = st.sampled_from(("a", "b", "c"))
VALUES = st.recursive(
    st.integers(0, 3) | st.just("x"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=6,
)
PATHS = st.lists(st.sampled_from(("a", "b", "*", "**", "[ab]")), min_size=1, max_size=3)


@given(part=st.dictionaries(NAMES, VALUES, max_size=3), paths=st.lists(PATHS, max_size=3))
def test_what_may_be_searched_has_nothing_masked(part: dict[str, Any], paths: list[list[str]]) -> None:
    keys = ContextKeys([parse("->".join(["context", *path])) for path in paths])
    allowed = {name: value for name, value in part.items() if name not in keys.hidden_in(part)}
    assert keys.visible(allowed) == allowed
    if not paths:
        assert allowed == part
