"""What the API answers, and to whom."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import Client
from django.urls import include, path

from bemi_django.admin.access.audit_site import audit_site
from bemi_django.api import api_viewer
from bemi_django.api.operations import OPERATIONS
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import record, take_log_away, visitor
from tests.support.audit_api import API, answer, ask, problem
from tests.support.hostile_parameters import HOSTILE
from tests.support.marked_texts import mark, speak_marked

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.support.audit_api")]
VIEW = "bemi_django.view_change"
TIMELINE = "admin/bemi_django/change/timeline/{}/"


@pytest.fixture
def client() -> Client:
    return visitor(VIEW, "bemi_django.revert_change", "todos.view_todo", "todos.change_todo")


@pytest.fixture
def todo() -> Todo:
    return Todo.objects.create(pk=1, task="Wake up")


def numbers(found: Any) -> list[int]:
    return [one["position"] // 8 for one in found["results"]]


def test_changes_are_listed_with_the_words_of_the_admin(client: Client, todo: Todo) -> None:
    record(1)
    record(2, operation="DELETE", after={}, primary_key="2")
    record(3, context={"user_id": 7, "reason": "import"}, primary_key="3")
    assert numbers(answer(client, "changes/")) == [3, 2, 1]
    assert numbers(answer(client, "changes/", operation="DELETE")) == [2]
    assert numbers(answer(client, "changes/", not_operation=["DELETE"])) == [3, 1]
    assert numbers(answer(client, "changes/", q="reason=import")) == [3]
    assert numbers(answer(client, "changes/", outside="true")) == []
    assert numbers(answer(client, "changes/", until="2001-01-01")) == []


def test_a_change_has_what_an_export_has_and_who_made_it(client: Client) -> None:
    change = record(1, context={"db_user": "dba"})
    found = answer(client, f"changes/{change.pk}/")
    assert found["id"] == str(change.pk) and found["before"] == {"id": 1, "task": "Sleep"}
    assert found["changed"] == ["task"] and found["after"]["task"] == "Wake up"
    assert found["actor"]["label"] == "dba"
    assert [name for name, is_set in found["actor"].items() if is_set is True] == ["is_outside"]
    assert found["committed_at"] == change.committed_at.isoformat()
    assert set(found) == {*(field.name for field in Change._meta.concrete_fields), "changed", "actor"}


def test_pages_follow_each_other_without_a_gap(client: Client) -> None:
    for number in range(1, 8):
        record(number)
    page = answer(client, "changes/", limit=3)
    seen = numbers(page)
    while page["older"]:
        page = client.get(page["older"]).json()
        seen += numbers(page)
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(client.get(page["newer"]).json()) == [4, 3, 2]


def test_the_history_of_an_object_has_its_parts(client: Client, todo: Todo) -> None:
    record(1)
    found = answer(client, "objects/todos/todo/1/")
    assert found["object"] == {"model": "todos.todo", "key": "1", "label": "Wake up", "is_deleted": False}
    assert numbers(found) == [1] and found["results"][0]["is_own"] and found["is_whole"]
    assert numbers(answer(client, "objects/todos/todo/1/", operation="DELETE")) == []


def test_the_fields_of_an_object_say_who_set_them(client: Client, todo: Todo) -> None:
    change = record(1, context={"db_user": "dba"})
    found = answer(client, "objects/todos/todo/1/fields/")
    task = next(one for one in found["results"] if one["name"] == "task")
    assert (task["value"], task["change"]) == ("Wake up", str(change.pk))
    assert task["actor"]["label"] == "dba" and found["at"] is None and found["existed"]
    past = answer(client, "objects/todos/todo/1/fields/", at="2020-01-01T00:00:00Z")
    assert {one["name"]: one["value"] for one in past["results"]} == {"id": 1, "task": "Sleep"}


def test_the_values_of_a_field_are_told_from_now_on_back(client: Client, todo: Todo) -> None:
    change = record(1)
    found = answer(client, "objects/todos/todo/1/fields/task/")
    assert [(one["value"], one["change"]) for one in found["results"]] == [
        ("Wake up", str(change.pk)),
        ("Sleep", None),
    ]
    problem(client, "objects/todos/todo/1/fields/nothing/", 404)


def test_a_request_and_a_transaction_are_told_in_their_order(client: Client) -> None:
    context = {"user_id": 7, "request_id": "r1"}
    first, second = record(1, context=context), record(1, ordinal=1, context={**context, "x": 1})
    for page, given in ((f"changes/{second.pk}/transaction/", {}), ("request/", {"id": "r1"})):
        found = answer(client, page, **given)
        assert [one["id"] for one in found["results"]] == [str(first.pk), str(second.pk)]
        assert found["context"] == context and not found["is_cut"]
    problem(client, "request/", 404, id="other")


def test_a_plan_says_what_a_revert_would_do_and_writes_nothing(client: Client, todo: Todo) -> None:
    change = record(1)
    found = answer(client, "revert/", change=str(change.pk))
    (step,) = found["steps"]
    assert (step["action"], step["primary_key"], found["is_allowed"]) == ("update", "1", True)
    assert step["values"] == [{"column": "task", "label": "task", "now": "Wake up", "becomes": "Sleep"}]
    assert Todo.objects.get().task == "Wake up"
    Todo.objects.update(task="Third")
    found = answer(client, "revert/", change=str(change.pk))
    assert found["has_conflicts"] and found["steps"][0]["conflict"]["kind"] == "changed_since"
    forced = answer(client, "revert/", change=str(change.pk), on_conflict="force", field=["task"])
    assert not forced["has_conflicts"]
    problem(client, "revert/", 400)
    problem(client, "revert/", 409, undo=str(change.pk))


def test_who_may_not_view_the_pages_is_refused(db: None, django_user_model: Any) -> None:
    change = record(1)
    pages = ["changes/", f"changes/{change.pk}/", "objects/todos/todo/1/", "request/", "revert/", "x/"]
    guest = Client()
    stranger = visitor("todos.view_todo")
    customer = visitor(VIEW, name="customer")
    django_user_model.objects.filter(username="customer").update(is_staff=False)
    for page in [*pages, "openapi.json"]:
        assert ask(guest, page)[0] == 401
        assert "bemi_django.view_change" in problem(stranger, page, 403)["message"]
        assert ask(customer, page)[0] == 403
    assert "WWW-Authenticate" in guest.get(f"{API}changes/")


def test_an_object_that_one_may_not_view_is_refused(todo: Todo) -> None:
    change = record(1)
    client = visitor(VIEW)
    for page in ("", "fields/", "fields/task/"):
        problem(client, f"objects/todos/todo/1/{page}", 403)
    problem(client, "revert/", 403, change=str(change.pk))


def test_a_model_admin_of_the_log_decides_who_may_view(client: Client, monkeypatch: Any) -> None:
    registered: Any = audit_site()._registry[Change]
    monkeypatch.setattr(registered, "has_view_permission", lambda request, obj=None: False)
    problem(client, "changes/", 403)


def test_masked_values_are_hidden_and_what_is_shown_is_recorded(
    todo: Todo, settings: Any, monkeypatch: Any, admin_client: Client
) -> None:
    noted: list[Any] = []
    monkeypatch.setattr(
        "bemi_django.admin.access.own_events.note", lambda *given, **details: noted.append((given, details))
    )
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    change = record(1, context={"SQL": "UPDATE todo SET task = 'Wake up'", "request_id": "r1"})
    pages: list[tuple[str, dict[str, str]]] = [
        ("changes/", {}),
        (f"changes/{change.pk}/", {}),
        (f"changes/{change.pk}/transaction/", {}),
        ("request/", {"id": "r1"}),
        ("objects/todos/todo/1/", {}),
        ("objects/todos/todo/1/fields/", {}),
        ("objects/todos/todo/1/fields/", {"at": "2020-01-01T00:00:00Z"}),
        ("objects/todos/todo/1/fields/task/", {}),
        ("revert/", {"change": str(change.pk)}),
    ]
    client = visitor(VIEW, "bemi_django.revert_change", "todos.view_todo", "todos.change_todo")
    for page, given in pages:
        text = str(answer(client, page, **given))
        assert "Sleep" not in text and "Wake up" not in text and "••••••" in text, page
        assert noted == []
    assert "masked" not in problem(client, "changes/", 400, q="task:Sleep")["message"]
    for page, given in pages:
        assert "Wake up" in str(answer(admin_client, page, **given)) or "at" in given
        assert noted and noted[-1][0] == ("unmasked",), page
        noted.clear()


@pytest.mark.parametrize(
    ("password", "unavailable"),
    [
        pytest.param({}, {"ignored": ["password"]}, id="ignored"),
        pytest.param({}, {"masked": ["password"]}, id="dropped"),
        pytest.param({"password": "hmac:0"}, {"masked": ["password"]}, id="hashed"),
        pytest.param(None, None, id="older than the log"),
    ],
)
def test_what_the_log_leaves_out_is_masked_for_everybody(
    admin_client: Client, password: Any, unavailable: Any
) -> None:
    user = get_user_model().objects.create_user("carl", password="x")
    if password is not None:
        row = {"id": user.pk, "username": "carl", **password}
        given = {"operation": "CREATE", "before": {}, "after": row, "unavailable": unavailable}
        record(1, table="auth_user", primary_key=str(user.pk), **given)
    for page in (
        "audit/objects/{}/fields/",
        "audit/objects/{}/fields/password/",
        TIMELINE,
        f"{TIMELINE}?field=password",
    ):
        text = admin_client.get(f"/{page}".format(f"auth/user/{user.pk}")).content.decode()
        assert ("••••••" in text or "hmac:0" in text) and user.password not in text, page


def only_todos(request: HttpRequest, changes: Any) -> Any:
    return changes.filter(table="todo")


def test_the_scope_applies(client: Client, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.only_todos"
    hidden = record(1, table="tag")
    record(2)
    assert numbers(answer(client, "changes/")) == [2]
    for page in ("", "transaction/"):
        problem(client, f"changes/{hidden.pk}/{page}", 404)
    problem(client, "revert/", 404, change=str(hidden.pk))


def of_acme(request: HttpRequest, changes: Any) -> Any:
    return changes.filter(context__tenant="acme")


def test_ids_of_another_tenant_lead_to_nothing_of_it(client: Client, settings: Any) -> None:
    """Changes of both are in one transaction, one request and one object's history."""
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.of_acme"
    Todo.objects.create(pk=1, task="Ours-now")
    acme = {"tenant": "acme", "request_id": "r1", "user_id": 7}
    other = {"tenant": "zqOther", "request_id": "r1", "user_id": 987123, "reverts": "zqOther"}
    same = {"transaction_id": 5, "position": 40}
    theirs = {"before": {"id": 1, "task": "zqOther-old"}, "after": {"id": 1, "task": "zqOther-new"}}
    ours = record(1, context=acme, ordinal=1, **same)
    hidden = [
        record(1, context=other, ordinal=0, **same, **theirs),
        record(2, context=other, **theirs),
        record(3, context={**other, "request_id": "zqOther-request"}, operation="DELETE", **theirs),
    ]
    pages: list[tuple[str, dict[str, Any]]] = [
        ("changes/", {}),
        *(("changes/", {"q": query}) for query in ("zqOther", "task:zqOther-new", "tenant=zqOther", "pk:1")),
        ("changes/", {"user": "987123"}),
        ("request/", {"id": "r1"}),
        ("request/", {"id": "zqOther-request"}),
        (f"changes/{ours.pk}/transaction/", {}),
        ("objects/todos/todo/1/", {}),
        ("objects/todos/todo/1/", {"related": "true"}),
        ("objects/todos/todo/1/fields/", {}),
        ("objects/todos/todo/1/fields/task/", {}),
        *(("revert/", {way: str(ours.pk)}) for way in ("change", "transaction", "request", "since", "undo")),
    ]
    for change in hidden:
        pages += [(f"changes/{change.pk}/", {}), (f"changes/{change.pk}/transaction/", {})]
        pages += [("changes/", {"older": str(change.pk)}), ("changes/", {"newer": str(change.pk)})]
        pages += [("revert/", {way: str(change.pk)}) for way in ("change", "transaction", "request", "since")]
    ids = [str(change.pk) for change in hidden]
    for page, given in pages:
        _, found = ask(client, page, **given)
        # What was asked for may be repeated.
        asked = [page, *map(str, given.values())]
        told = [one for one in (*ids, "987123", "zqOther") if not any(one in text for text in asked)]
        assert [one for one in told if one in str(found)] == [], (page, given, found)


def test_the_moment_of_another_tenant_shows_nothing_of_it(client: Client, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.of_acme"
    Todo.objects.create(pk=1, task="Ours-now")
    hidden = record(1, context={"tenant": "other"}, after={"id": 1, "task": "zqOther-new"})
    status, found = ask(client, "objects/todos/todo/1/fields/", at=hidden.committed_at.isoformat())
    assert "zqOther" not in str(found), (status, found)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("changes/", {"tabel": "todo"}, "tabel"),
    ("changes/", {"limit": "0"}, "limit"),
    ("changes/", {"limit": ["1", "2"]}, "limit"),
    ("changes/", {"older": "x"}, "older"),
    ("changes/", {"since": "2026-02-30"}, "since"),
    ("changes/", {"since_time": "12:00"}, "since_time"),
    ("changes/", {"since": "2026-01-01", "since_time": "25:00"}, "since_time"),
    ("changes/", {"outside": "yes"}, "outside"),
    ("changes/", {"operation": "FLY"}, "operation"),
    ("changes/", {"user": "nobody at all"}, "user"),
    ("changes/", {"q": "task:'x"}, "q"),
    ("changes/", {"not_user": ["x"] * 21}, "not_user"),
    ("changes/x/", {}, "id"),
    ("request/", {}, "id"),
    ("objects/todos/todo/1/", {"related": "x"}, "related"),
    ("objects/todos/todo/1/fields/", {"at": "yesterday"}, "at"),
    ("objects/todos/todo/1/fields/", {"at": "2999-01-01T00:00:00Z"}, "at"),
    ("revert/", {"change": "x"}, "change"),
]


@pytest.mark.parametrize(("page", "given", "name"), WRONG)
def test_a_wrong_parameter_is_named_in_the_language_of_the_reader(
    client: Client, page: str, given: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_marked(monkeypatch)
    found = problem(client, page, 400, **given)
    assert list(found["parameters"]) == [name]
    assert all(mark("x") in text for text in (found["message"], *found["parameters"][name]))


def test_other_methods_and_addresses_are_answered_with_json(client: Client) -> None:
    for method in (client.post, client.put, client.delete):
        response = method(f"{API}changes/")
        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
        assert response.json()["error"]["status"] == 405
    assert "openapi.json" in problem(client, "changing/", 404)["message"]
    assert client.head(f"{API}changes/").status_code == 200
    assert "no-store" in client.get(f"{API}changes/")["Cache-Control"]


@pytest.mark.parametrize("use_tz", [True, False])
def test_no_hostile_value_makes_an_answer_fail(
    client: Client, todo: Todo, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    change = record(1, context={"user_id": [1], "endpoint": 5, "request_id": {"a": 1}, "SQL": 7})
    record(2, table="no_model", primary_key="x", context={"db_user": None, "reverts": 5})
    for operation in OPERATIONS:
        known = {"app_label": "todos", "model_name": "todo", "key": "1", "field": "task", "id": change.pk}
        for number, parameter in enumerate(operation.parameters):
            for value in HOSTILE[number % 18 :: 18]:
                part = quote(value, safe="", errors="surrogatepass") or "-"
                parts = known | ({parameter.name: part} if parameter.is_in_path else {})
                given = {} if parameter.is_in_path else {parameter.name: value}
                assert ask(client, operation.path.format(**parts), **given)[0] < 500, (parts, given)


def test_a_log_that_is_away_is_said_by_every_question(
    client: Client, todo: Todo, settings: Any, monkeypatch: Any
) -> None:
    change = record(1)
    take_log_away(settings, monkeypatch)
    parts = {"app_label": "todos", "model_name": "todo", "key": "1", "field": "task", "id": change.pk}
    asked = {"request": {"id": "r1"}, "plan": {"change": str(change.pk)}}
    for operation in OPERATIONS:
        found = problem(client, operation.path.format(**parts), 503, **asked.get(operation.name, {}))
        assert found["message"] == "The log cannot be read at the moment. Try again later."
    # Nothing of the log is needed.
    assert answer(client, "openapi.json")["paths"]


urlpatterns = [path("deeper/audit/", include("bemi_django.urls", namespace="trail"))]


@pytest.mark.urls(__name__)
def test_no_page_of_the_admin_is_needed(monkeypatch: Any, todo: Todo) -> None:
    monkeypatch.setattr(api_viewer, "audit_site", lambda: AdminSite(name="none"))
    Tag.objects.create(pk=1, name="night")
    record(1)
    record(2, table="tag", primary_key="1")
    client = visitor(VIEW, "todos.view_todo", "bemi_django.revert_change")
    for page in ("changes/", "objects/todos/todo/1/", "objects/todos/todo/1/fields/task/"):
        assert client.get(f"/deeper/audit/{page}").status_code == 200
    described = client.get("/deeper/audit/openapi.json").json()
    assert described["servers"] == [{"url": "/deeper/audit"}]
