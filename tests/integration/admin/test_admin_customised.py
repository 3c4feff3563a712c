"""A project's own columns, templates and inlines, as the documentation shows them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.checks import Error
from django.db import connection
from django.template.response import TemplateResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import path

from bemi_django.admin import ChangeAdmin, ChangesInline
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import record, take_log_away, visitor
from tests.support.paths import ROOT

site = admin.AdminSite(name="office")
plain = admin.AdminSite(name="plain")
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

LIST = "/office/bemi_django/change/"
SEES = ("bemi_django.view_change", "todos.view_todo", "todos.change_todo", "auth.view_user")


class OfficeChangeAdmin(ChangeAdmin):
    list_display = ("when", "object", "ticket", "is_urgent", "before")

    @admin.display(description="Ticket", empty_value="no ticket")
    def ticket(self, change: Change) -> Any:
        return change.context.get("ticket")

    @admin.display(boolean=True)
    def is_urgent(self, change: Change) -> bool:
        return bool(change.after.get("urgent"))


class LatestInline(ChangesInline):
    limit = 3


class TodoAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    inlines = [LatestInline]


site.register(Change, OfficeChangeAdmin)
site.register(Todo, TodoAdmin)
site.register(Tag, admin.ModelAdmin)
plain.register(Todo, TodoAdmin)
urlpatterns = [path("office/", site.urls), path("plain/", plain.urls)]


@pytest.fixture
def todo() -> Todo:
    return Todo.objects.create(pk=1, task="Wake up")


def form_of(client: Client, where: str = "office") -> str:
    response = client.get(f"/{where}/todos/todo/1/change/?raw=1&older=x")
    assert response.status_code == 200
    return str(response.content.decode())


def test_columns_of_the_project_are_in_the_list_of_rows(todo: Todo) -> None:
    record(1, context={"ticket": "<A-7>"}, after={"id": 1, "task": "Wake up", "urgent": True})
    record(2, context={})
    text = visitor(*SEES).get(f"{LIST}?view=rows").content.decode()
    heads = re.findall(r'<th scope="col" class="bemi[^>]*>([^<]*)</th>', text)
    assert heads == ["When", "Object", "Ticket", "Is urgent", "Before"]
    assert "&lt;A-7&gt;" in text and "no ticket" in text and 'alt="True"' in text
    assert "bemi-diff" not in text.partition("<tbody>")[2]
    assert site._registry[Change].check() == []


def test_no_template_needs_a_variable_that_is_not_there(todo: Todo, settings: Any) -> None:
    """A project may have Django print something in its place."""
    (engine,) = settings.TEMPLATES
    options = {**engine.get("OPTIONS", {}), "string_if_invalid": "INVALID %s"}
    settings.TEMPLATES = [{**engine, "OPTIONS": options}]
    first = record(1)
    change = record(2, before={"id": 1, "task": "Wake up"}, after={"id": 1, "task": "Wake up! " * 50})
    client = visitor(*SEES, "bemi_django.revert_change")
    pages = [
        *("", "?view=rows", "?view=rows&o=1", "activity/", "?q=x", "?user=7", "request/r1/"),
        *(f"{change.pk}/change/", f"revert/?change={change.pk}", f"transaction/{change.pk}/"),
        *("timeline/todos/todo/1/", f"timeline/todos/todo/1/?at={change.pk}&since={first.pk}"),
        *("timeline/todos/todo/1/?field=task", "deleted/", "health/"),
    ]
    for page in pages:
        text = client.get(f"{LIST}{page}", follow=True).content.decode()
        found = [line for line in text.partition('id="content"')[2].splitlines() if "INVALID" in line]
        assert not found, page


def test_columns_of_the_project_are_in_the_list_of_actions(todo: Todo) -> None:
    class Ticketed(ChangeAdmin):
        list_display = ("when", "ticket", "is_urgent", "reader")

        ticket = OfficeChangeAdmin.ticket
        is_urgent = OfficeChangeAdmin.is_urgent

        def reader(self, change: Change) -> None:
            return None

    record(1, context={"ticket": "<A-7>"}, after={"id": 1, "task": "Wake up", "urgent": True})
    record(1, ordinal=1, context={"ticket": "<A-7>"})
    record(2, context={})
    request = RequestFactory().get("/")
    request.user = get_user_model()(is_superuser=True, is_active=True, is_staff=True)
    page = Ticketed(Change, site).changelist_view(request)
    assert isinstance(page, TemplateResponse) and page.context_data is not None
    alone, both = page.context_data["actions"]
    # What all changes have in common is said once, and nothing of a column without a value.
    assert [(cell.label, cell.value) for cell in both.own] == [("Ticket", "<A-7>")]
    assert ["True" in str(cell.value) for row in both.rows for cell in row.cells] == [True, False]
    assert [cell.name for cell in alone.own] == ["is_urgent"] and alone.rows[0].cells == []
    text = page.render().content.decode()
    assert text.count("&lt;A-7&gt;") == 1 and "Reader" not in text


def test_columns_have_masks_in_place_of_what_is_hidden(todo: Todo, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task", "context->ticket"]
    record(1, before={"id": 1, "task": "Snore"}, context={"ticket": "A-7"})
    text = visitor(*SEES).get(f"{LIST}?view=rows").content.decode()
    assert "••••••" in text and "A-7" not in text and "Snore" not in text
    assert (
        "A-7"
        in visitor(*SEES, "bemi_django.unmask_change", name="u").get(f"{LIST}?view=rows").content.decode()
    )


def test_a_column_that_does_not_exist_is_found_by_the_check() -> None:
    class Wrong(ChangeAdmin):
        list_display = ("when", "nothing")

    (error,) = Wrong(Change, site).check()
    assert isinstance(error, Error) and error.id == "admin.E108"


def test_pages_of_a_model_can_have_templates_of_their_own(todo: Todo, settings: Any) -> None:
    change = record(1)
    record(2, table="tag")
    client, pages = (
        visitor(*SEES, "todos.view_tag"),
        {
            "timeline": f"{LIST}timeline/todos/todo/1/",
            "field_history": f"{LIST}timeline/todos/todo/1/?field=task",
            "change": f"{LIST}{change.pk}/change/",
        },
    )
    own = "{{% extends 'admin/bemi_django/{0}.html' %}}{{% block page %}}own {0}{{% endblock %}}"
    templates = {f"admin/bemi_django/todos/todo/{name}.html": own.format(name) for name in pages}
    templates["admin/bemi_django/todos/todo/latest_changes.html"] = "own {{ steps|length }}"
    engine = settings.TEMPLATES[0]
    loaders = [
        ("django.template.loaders.locmem.Loader", templates),
        "django.template.loaders.app_directories.Loader",
    ]
    options = {**engine["OPTIONS"], "loaders": loaders}
    with override_settings(TEMPLATES=[{**engine, "APP_DIRS": False, "OPTIONS": options}]):
        for name, address in pages.items():
            assert f"own {name}" in client.get(address).content.decode()
        assert "own 1" in form_of(client)
        # Other models have the usual ones.
        other = Change.objects.get(table="tag")
        assert "own change" not in client.get(f"{LIST}{other.pk}/change/").content.decode()


def test_a_form_shows_the_latest_changes_of_its_object(todo: Todo) -> None:
    for number in range(1, 6):
        record(number, after={"id": 1, "task": f"<b>{number}"}, context={"reason": f"for {number}"})
    record(6, primary_key="2", after={"id": 2, "task": "other"})
    text = form_of(visitor(*SEES, "bemi_django.revert_change"))
    assert "Latest changes" in text and text.count('class="bemi-step ') == 3
    assert "&lt;b&gt;5" in text and "&lt;b&gt;2" not in text and "<b>5" not in text and "other" not in text
    # Links stay within the site, and "put back" leads to the plan and then back to the form.
    assert '/office/bemi_django/change/timeline/todos/todo/1/"' in text and '"/admin/' not in text
    assert "field=task&amp;next=%2Foffice%2Ftodos%2Ftodo%2F1%2Fchange%2F" in text
    # What is there already is not restored.
    assert text.count("Restore this version") == 2


def test_a_form_with_changes_is_saved_as_any_other(todo: Todo) -> None:
    record(1)
    client = visitor(*SEES)
    client.get("/office/todos/todo/1/change/")
    fields = {"task": "", "description": ""}
    refused = client.post("/office/todos/todo/1/change/", fields)
    assert refused.status_code == 200 and "Latest changes" in refused.content.decode()
    given = {"task": "Get up", "owner": "", "_save": "Save"}
    response = client.post("/office/todos/todo/1/change/", given)
    assert response.status_code == 302, response.context["errors"]
    todo.refresh_from_db()
    assert todo.task == "Get up"


def test_the_latest_changes_take_their_permissions_and_masks(todo: Todo, settings: Any) -> None:
    record(1)
    client = visitor(*SEES, "todos.add_todo")
    assert "Latest changes" not in client.get("/office/todos/todo/add/").content.decode()
    assert "Latest changes" not in form_of(visitor("todos.change_todo", name="no-log"))
    # A site without the pages of the audit trail has nothing to lead to.
    assert "Latest changes" not in form_of(client, "plain")
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    text = form_of(client)
    assert "••••••" in text and "Sleep" not in text
    settings.BEMI_MASKED_FIELDS = ["todo.id"]
    assert "Latest changes" not in form_of(client)
    settings.BEMI_MASKED_FIELDS = []
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.nothing"
    assert "The log has no changes of this object." in form_of(client)
    assert site._registry[Todo].check() == []


def test_a_form_is_shown_and_saved_although_the_log_is_away(
    todo: Todo, settings: Any, monkeypatch: Any
) -> None:
    client = visitor(*SEES, "bemi_django.view_health")
    take_log_away(settings, monkeypatch)
    told = "The log cannot be read at the moment. Try again later."
    assert told in form_of(client)
    given = {"task": "Get up", "owner": "", "_save": "Save"}
    assert client.post("/office/todos/todo/1/change/", given).status_code == 302
    for page in ("", "?view=rows", "activity/", "deleted/", "health/", "views/", "timeline/todos/todo/1/"):
        response = client.get(f"{LIST}{page}")
        assert response.status_code == 503 and told in response.content.decode(), page


def nothing(request: Any, changes: Any) -> Any:
    return changes.none()


def test_the_number_of_queries_is_the_same_for_any_number_of_changes(todo: Todo) -> None:
    client, counts = visitor(*SEES), []
    users = [get_user_model().objects.create(username=f"user-{number}") for number in range(3)]
    for number in range(1, 4):
        record(number, context={"user_id": users[number - 1].pk})
        form_of(client)
        with CaptureQueriesContext(connection) as queries:
            form_of(client)
        counts.append(len(queries))
    assert counts[0] == counts[2]


@pytest.mark.parametrize("page", ["admin.md"])
def test_the_examples_of_the_documentation_run(page: str) -> None:
    section = (ROOT / "docs" / page).read_text().partition("## Own columns, templates and inlines")[2]
    examples = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert len(examples) == 2
    known: dict[str, Any] = {}
    registered = dict(admin.site._registry)
    try:
        if admin.site.is_registered(Tag):
            admin.site.unregister(Tag)
        for example in examples:
            exec(example, known)
        assert admin.site._registry[Change].check() == admin.site._registry[Tag].check() == []
    finally:
        admin.site._registry.clear()
        admin.site._registry.update(registered)
