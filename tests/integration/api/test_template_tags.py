"""The history of an object on pages of the project, for those who may see it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import connection
from django.http import HttpRequest
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext, override_settings

from sample_project.todos.models import Todo
from tests.support.audit import record, take_log_away, visitor

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.support.audit_api")]
TIMELINE = "{% audit_timeline todo %}"
LAST = '{% last_changed todo "task" %}'


@pytest.fixture
def todo() -> Todo:
    return Todo.objects.create(pk=1, task="Wake up")


@pytest.fixture
def ann(db: None) -> Any:
    visitor("bemi_django.view_change", "todos.view_todo")
    return get_user_model().objects.get(username="ann")


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/product/?raw=1&older=x")
    request.user = user
    return request


def shown(text: str, user: Any = None, **values: Any) -> str:
    context = Context({**values, **({"request": request_of(user)} if user else {})})
    return Template("{% load audit %}" + text).render(context)


def test_a_timeline_shows_who_changed_what(todo: Todo, ann: Any) -> None:
    change = record(1, context={"db_user": "dba", "reason": "<script>"}, after={"id": 1, "task": "<b>up"})
    text = shown(TIMELINE, ann, todo=todo)
    assert "<del>Sleep</del>" in text and "&lt;b&gt;up" in text and "&lt;script&gt;" in text
    assert "dba" in text and f"/admin/bemi_django/change/{change.pk}/change/" in text
    assert "<script>" not in text and "<b>up" not in text


def test_the_last_change_of_a_field_is_a_text_or_a_value(todo: Todo, ann: Any) -> None:
    change = record(1, context={"db_user": "<dba>"})
    assert ", &lt;dba&gt;" in shown(LAST, ann, todo=todo)
    as_value = (
        '{% last_changed todo "task" as last %}{{ last.change.pk }} {{ last.at.year }} {{ last.actor }}'
    )
    assert shown(as_value, ann, todo=todo) == f"{change.pk} {change.committed_at.year} &lt;dba&gt;"
    assert shown('{% last_changed todo "is_completed" %}', ann, todo=todo) == ""
    Todo.objects.update(task="Third")
    assert shown(LAST, ann, todo=todo) == "just changed, not in the log yet"


@override_settings(BEMI_MASKED_FIELDS=["todo.task", "context->reason"])
def test_the_change_of_a_field_has_no_masked_values(todo: Todo, ann: Any) -> None:
    record(1, context={"db_user": "dba", "reason": "secret"})
    last = '{% last_changed todo "task" as last %}{% with c=last.change %}'
    text = f"{last}{{{{ c.before }}}} {{{{ c.after }}}} {{{{ c.context }}}}{{% endwith %}}"
    found = shown(text, ann, todo=todo)
    assert "••••••" in found and "dba" in found
    assert "Wake up" not in found and "Sleep" not in found and "secret" not in found


def test_others_are_shown_nothing(todo: Todo, ann: Any, django_user_model: Any) -> None:
    record(1)
    assert shown(TIMELINE, ann, todo=todo) and shown(LAST, ann, todo=todo)
    visitor("bemi_django.view_change", name="without-todo")
    visitor("todos.view_todo", name="without-changes")
    visitor("bemi_django.view_change", "todos.view_todo", name="customer")
    django_user_model.objects.filter(username="customer").update(is_staff=False)
    for name in ("without-todo", "without-changes", "customer"):
        user = django_user_model.objects.get(username=name)
        assert shown(TIMELINE + LAST, user, todo=todo) == "", name
        assert shown("{% audit_timeline todo user=other %}", ann, todo=todo, other=user) == "", name
        assert "Sleep" in shown("{% audit_timeline todo user=other %}", user, todo=todo, other=ann), name
    for nothing in (None, "", Todo(task="unsaved")):
        assert shown(TIMELINE + LAST, ann, todo=nothing) == ""


def test_without_a_request_it_must_be_said_whose_permissions_apply(todo: Todo, ann: Any) -> None:
    record(1)
    assert shown(TIMELINE + LAST, todo=todo) == ""
    assert "Sleep" in shown("{% audit_timeline todo user=ann %}", todo=todo, ann=ann)
    assert shown('{% last_changed todo "task" user=ann %}', todo=todo, ann=ann)


def test_masked_values_are_hidden(todo: Todo, ann: Any, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    record(1)
    text = shown(TIMELINE, ann, todo=todo)
    assert "••••••" in text and "Sleep" not in text and "Wake up" not in text
    settings.BEMI_MASKED_FIELDS = ["todo.id"]
    assert shown(TIMELINE + LAST, ann, todo=todo) == ""


def test_the_number_of_queries_is_constant(todo: Todo, ann: Any) -> None:
    counts = []
    for number in range(1, 13):
        record(number, context={"db_user": "dba"})
        if number in (2, 12):
            with CaptureQueriesContext(connection) as queries:
                shown(TIMELINE + LAST, get_user_model().objects.get(pk=ann.pk), todo=todo)
            counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_model_can_have_a_template_of_its_own(todo: Todo, ann: Any, settings: Any) -> None:
    record(1)
    templates = {"bemi_django/todos/todo/timeline.html": "{{ steps|length }} of {{ subject.label }}"}
    loader = ("django.template.loaders.locmem.Loader", templates)
    engine = {**settings.TEMPLATES[0], "APP_DIRS": False}
    engine["OPTIONS"] = {**engine["OPTIONS"], "loaders": [loader]}
    with override_settings(TEMPLATES=[engine]):
        assert (
            Template("{% load audit %}" + TIMELINE).render(
                Context({"todo": todo, "request": request_of(ann)})
            )
            == "1 of Wake up"
        )


def test_a_limit_and_whose_changes_can_be_chosen(todo: Todo, ann: Any) -> None:
    for number in range(1, 4):
        record(number)
    text = shown('{% audit_timeline todo limit=2 related="own" %}', ann, todo=todo)
    assert text.count("<time") == 2 and "All changes" in text
    with pytest.raises(TemplateSyntaxError, match="related"):
        shown('{% audit_timeline todo related="x" %}', ann, todo=todo)
    with pytest.raises(FieldDoesNotExist):
        shown('{% last_changed todo "nothing" %}', ann, todo=todo)


def test_a_page_is_shown_although_the_log_is_away(
    todo: Todo, ann: Any, settings: Any, monkeypatch: Any
) -> None:
    take_log_away(settings, monkeypatch)
    text = shown(f"{TIMELINE} last: {LAST}.", ann, todo=todo)
    assert text.endswith("The log cannot be read at the moment. Try again later.</p> last: .")
