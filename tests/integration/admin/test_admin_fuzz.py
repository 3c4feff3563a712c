"""No page fails, whatever its parameters are, with and without time zones."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.conf import settings
from django.test import Client, override_settings
from hypothesis import HealthCheck, example, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record, visitor
from tests.support.hostile_parameters import HOSTILE

pytestmark = pytest.mark.django_db(databases=["default", "other"])

PAGES = [
    "",
    "activity/",
    "deleted/",
    "health/",
    "export/",
    "revert/",
    "request/",
    "archive/",
    "timeline/todos/todo/1/",
    "timeline/todos/todo/1/?field=task",
    "timeline/todos/tag/1/",
]
NAMES = [
    *(
        "q",
        "table",
        "operation",
        "user",
        "endpoint",
        "since",
        "until",
        "outside",
        "unverified",
        "older",
        "newer",
    ),
    *("span", "format", "at", "and", "change", "transaction", "request", "field", "related", "raw"),
    *("id", "view", "records", "before", "undo", "next", "group", "not_group", "not_user", "since_time"),
]
PAGE_OF = {
    **dict.fromkeys(("at", "and", "field", "related"), "timeline/todos/todo/1/"),
    **dict.fromkeys(("change", "transaction", "request", "undo", "next"), "revert/"),
    "id": "request/",
    "before": "archive/",
    "table": "deleted/",
    "format": "export/",
    "span": "activity/",
}
VALUES = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=30), st.datetimes().map(str), st.dates().map(str)
)
KEYS = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=20), st.integers().map(str))


@pytest.fixture
def log() -> None:
    """Changes of all kinds, of rows that are there and of others."""
    tag = Tag.objects.create(pk=1, name="night")
    todo = Todo.objects.create(pk=1, task="Sleep")
    todo.tags.add(tag)
    record(1, operation="CREATE", before={})
    record(2, primary_key="99", operation="DELETE", after={})
    record(3, table="tag", context={})
    for number, operation in enumerate(("TRUNCATE", "SKIPPED", "GAP"), 4):
        record(number, operation=operation, primary_key=None, before={}, after={})
    record(7, table="no_model", context={"user_id": [1], "endpoint": 5, "request_id": {"a": 1}, "SQL": 7})
    record(8, primary_key="no number", context={"db_user": None, "user_id": "9" * 30})


@pytest.fixture(params=["superuser", "staff"])
def client(request: Any, log: None, django_user_model: Any, settings: Any) -> Client:
    settings.USE_TZ = request.param == "superuser"
    if request.param == "superuser":
        client = Client(raise_request_exception=False)
        client.force_login(django_user_model.objects.create_superuser("root"))
        return client
    actions = ("view", "export", "revert")
    client = visitor(*(f"bemi_django.{action}_change" for action in actions), "todos.view_todo")
    client.raise_request_exception = False
    return client


def encoded(parameters: Any) -> str:
    return urlencode(parameters, errors="surrogatepass")


def answer(client: Client, page: str, parameters: Any) -> None:
    response: Any = client.get(f"{LIST}{page}?{encoded(parameters)}")
    assert response.status_code < 500, (page, parameters)
    if response.streaming:
        b"".join(response)


SLOW = tried(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)


@given(
    page=st.sampled_from(PAGES),
    parameters=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
    use_tz=st.booleans(),
)
@example(page="", parameters={"until": "9999-12-31"}, use_tz=True)
@example(page="", parameters={"until": "9999-12-31"}, use_tz=False)
@example(page="", parameters={"since": "0001-01-01", "until": "0001-01-01"}, use_tz=False)
@example(page="", parameters={"until": "0001-01-01", "until_time": "00:00"}, use_tz=True)
@example(page="activity/", parameters={"since": "9999-12-29", "until": "9999-12-29"}, use_tz=True)
@SLOW
def test_no_parameter_makes_a_page_fail(
    client: Client, page: str, parameters: dict[str, str], use_tz: bool
) -> None:
    with override_settings(USE_TZ=use_tz):
        answer(client, page, parameters)


@pytest.mark.parametrize("value", HOSTILE)
def test_no_hostile_value_makes_a_page_fail(client: Client, value: str) -> None:
    # Each kind of user asks for a half of all pairs; any may come in test_no_parameter_makes_a_page_fail.
    is_odd = (HOSTILE.index(value) + settings.USE_TZ) % 2
    for name in NAMES[is_odd::2]:
        answer(client, PAGE_OF.get(name, ""), {name: value})
    answer(client, "activity/", {"user": value, "span": value})
    answer(client, "export/", {"user": value, "endpoint": value})


@given(key=KEYS, model=st.sampled_from(["todos/todo", "todos/tag", "auth/user", "shop/order", "x/y"]))
@SLOW
def test_no_key_makes_a_timeline_fail(client: Client, key: str, model: str) -> None:
    response = client.get(f"{LIST}timeline/{model}/{quote(key, safe='', errors='surrogatepass')}/")
    assert response.status_code < 500, key


@given(st.dictionaries(st.sampled_from(["digest", "on_conflict", "x"]), VALUES))
@SLOW
def test_no_answer_makes_a_revert_fail(client: Client, fields: dict[str, str]) -> None:
    change = Change.objects.order_by("?").first()
    assert change is not None
    for way in ("change", "transaction", "request"):
        data = {name: value.encode(errors="replace").decode() for name, value in fields.items()}
        response = client.post(f"{LIST}revert/?{way}={change.pk}", data)
        assert response.status_code < 500, (way, fields)


def test_every_change_has_its_pages(client: Client) -> None:
    for change in Change.objects.all():
        assert client.get(f"{LIST}{change.pk}/change/").status_code == 200
        for way in ("change", "transaction", "request"):
            assert client.get(f"{LIST}revert/?{way}={change.pk}").status_code in (200, 404)


@given(
    context=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["user_id", "endpoint", "method", "request_id", "SQL", "task", "db_user", "process"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
@SLOW
def test_no_context_makes_a_page_fail(client: Client, context: Any) -> None:
    Change.objects.filter(position=8).update(
        context=context if isinstance(context, dict) else {"user_id": context}
    )
    change = Change.objects.get(position=8)
    for page in (
        "",
        f"{change.pk}/change/",
        "activity/",
        "timeline/todos/todo/1/",
        "timeline/todos/todo/1/?field=task",
        "export/?format=csv",
    ):
        response: Any = client.get(f"{LIST}{page}")
        assert response.status_code < 500, context
