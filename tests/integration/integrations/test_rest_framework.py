"""The history of objects in viewsets, for whom the viewset gives them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import include, path
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.filters import BaseFilterBackend
from rest_framework.permissions import BasePermission
from rest_framework.routers import DefaultRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from bemi_django.integrations.rest_framework import HistoryMixin
from sample_project.todos.models import Todo
from tests.support.audit import record, take_log_away, visitor
from tests.support.paths import ROOT
from tests.support.polling import DEADLINE

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class IsOwner(BasePermission):
    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return bool(obj.owner_id == request.user.pk)


class ByList(BaseFilterBackend):
    """A filter of the viewset, of which one parameter has the name of one of the history's."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        wanted = request.query_params
        queryset = queryset.filter(task__contains=wanted["task"]) if "task" in wanted else queryset
        return queryset.filter(owner__username=wanted["user"]) if "user" in wanted else queryset


class TodoSerializer(ModelSerializer):
    class Meta:
        model = Todo
        fields = ["id"]


class TodoViewSet(HistoryMixin, ModelViewSet):
    queryset = Todo.objects.exclude(task="hidden")
    filter_backends = [ByList]
    serializer_class = TodoSerializer
    authentication_classes = [SessionAuthentication]
    permission_classes = [IsOwner]


class OpenViewSet(TodoViewSet):
    history_permission = None


class NobodyViewSet(TodoViewSet):
    permission_classes = []

    def perform_authentication(self, request: Any) -> None:
        request.user = None


class AllViewSet(NobodyViewSet):
    history_permission = None


class AsEve(BaseAuthentication):
    """Whoever has a session, the request is eve's."""

    def authenticate(self, request: Any) -> tuple[Any, None]:
        return get_user_model().objects.get_or_create(username="eve")[0], None


class LateViewSet(TodoViewSet):
    """A viewset that asks for the user when somebody wants to know, as the framework documents it."""

    authentication_classes = [AsEve]
    permission_classes = []

    def perform_authentication(self, request: Any) -> None: ...


class AsyncViewSet(TodoViewSet):
    """An async viewset, which finds its objects by a method of its own."""

    permission_classes = []

    async def aget_object(self) -> Any:
        return await Todo.objects.exclude(task="hidden").aget(owner_id=self.request.user.pk)


class AwaitedViewSet(AsyncViewSet):
    """The method nearest to the class counts."""

    async def get_object(self) -> Any:
        raise NotFound


router = DefaultRouter()
router.register("async", AsyncViewSet, basename="async")
router.register("awaited", AwaitedViewSet, basename="awaited")
router.register("nobody", NobodyViewSet, basename="nobody")
router.register("all", AllViewSet, basename="all")
router.register("late", LateViewSet, basename="late")
router.register("todos", TodoViewSet)
router.register("open", OpenViewSet, basename="open")
urlpatterns = [path("", include(router.urls))]


@pytest.fixture
def client() -> Client:
    client = visitor("bemi_django.view_change")
    ann = get_user_model().objects.get(username="ann")
    # Whom the viewset lets in need not be staff.
    get_user_model().objects.update(is_staff=False)
    Todo.objects.create(pk=1, task="Wake up", owner=ann)
    Todo.objects.create(pk=2, task="Of nobody")
    Todo.objects.create(pk=3, task="hidden", owner=ann)
    return client


def test_an_object_has_a_history_in_pages(client: Client) -> None:
    for number in range(1, 4):
        record(number)
    response = client.get("/todos/1/history/?limit=2&format=json&other=x&task=Wake&user=7")
    found = response.json()
    assert response.status_code == 200 and response["Content-Type"] == "application/json"
    # Nobody else is to find it in a cache.
    assert {"no-store", "private"} <= set(response["Cache-Control"].split(", "))
    assert [one["position"] // 8 for one in found["results"]] == [3, 2]
    assert found["object"]["model"] == "todos.todo" and found["results"][0]["changed"] == ["task"]
    assert "task=Wake" in found["older"] and "user=7" in found["older"]
    assert [one["position"] for one in client.get(found["older"]).json()["results"]] == [8]
    # The viewset's own parameters are still asked.
    assert client.get("/todos/1/history/?task=Sleep").status_code == 404
    assert client.get("/todos/1/history/?limit=x").json()["error"]["parameters"]["limit"]
    assert client.post("/todos/1/history/").status_code == 405


def test_the_viewset_decides_whose_history_is_shown(client: Client) -> None:
    assert client.get("/todos/2/history/").status_code == 403
    assert client.get("/todos/3/history/").status_code == 404
    assert client.get("/todos/99/history/").status_code == 404
    assert Client().get("/todos/1/history/").status_code == 403


def test_a_permission_is_needed_unless_the_viewset_says_otherwise(client: Client) -> None:
    record(1)
    get_user_model().objects.get(username="ann").user_permissions.clear()
    assert "bemi_django.view_change" in client.get("/todos/1/history/").json()["detail"]
    assert client.get("/open/1/history/").json()["results"][0]["before"]["task"] == "Sleep"
    # UNAUTHENTICATED_USER may be None, and users of tokens may have no permissions.
    assert (client.get("/nobody/1/history/").status_code, client.get("/all/1/history/").status_code) == (
        403,
        200,
    )


def test_the_user_of_the_viewset_is_the_one_who_needs_the_permission(client: Client) -> None:
    assert client.get("/late/1/history/").status_code == 403


def test_an_async_viewset_decides_by_its_own_method(client: Client) -> None:
    record(1)
    # The one object that it gives is the user's, whatever the key is.
    assert client.get("/async/2/history/").json()["object"]["key"] == "1"
    assert client.get("/awaited/1/history/").status_code == 404


BARE = """
import json, sys
import django
from django.conf import settings
from django.urls import include, path
settings.configure(
    SECRET_KEY="for-tests-only",
    DATABASES={"default": json.loads(sys.argv[1])},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["rest_framework", "bemi_django"],
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []},
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["testserver"],
)
django.setup()
from bemi_django.integrations.rest_framework import HistoryMixin
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import GenericViewSet
from django.db import models

class Item(models.Model):
    class Meta:
        app_label = "bemi_django"

class Open(HistoryMixin, GenericViewSet):
    history_permission = None
    permission_classes = []

    def get_object(self):
        return Item(pk=self.kwargs["pk"])

class Closed(Open):
    history_permission = "bemi_django.view_change"

router = SimpleRouter()
router.register("open", Open, basename="open")
router.register("closed", Closed, basename="closed")
urlpatterns = [path("", include(router.urls))]
from django.test import Client
answer = Client().get("/open/4711/history/")
assert (answer.status_code, answer.json()["results"]) == (200, []), answer.content
assert Client().get("/closed/4711/history/").status_code == 403
"""


def test_a_project_without_users_has_histories_too() -> None:
    database = {name: connection.settings_dict[name] for name in ("ENGINE", "NAME", "HOST", "PORT", "USER")}
    database["PASSWORD"] = connection.settings_dict["PASSWORD"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BARE, json.dumps(database)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr


def test_masked_values_are_hidden_and_numbers_exact(client: Client, settings: Any) -> None:
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    change = record(1)
    exact = '{"n": 1.123456789012345678901234567890, "task": "Secret"}'
    with connection.cursor() as cursor:
        cursor.execute("UPDATE changes SET after = %s WHERE id = %s", [exact, change.pk])
    text = client.get("/todos/1/history/").content.decode()
    assert "1.123456789012345678901234567890" in text and "••••••" in text
    assert "Secret" not in text and "Sleep" not in text
    settings.BEMI_MASKED_FIELDS = ["todo.id"]
    assert client.get("/todos/1/history/").status_code == 403


def test_the_answer_is_that_of_the_api(client: Client) -> None:
    record(1, context={"db_user": "dba"})
    found = json.loads(client.get("/todos/1/history/").content)
    assert set(found) == {"object", "results", "older", "newer", "is_partial", "is_whole", "complete_from"}
    assert found["results"][0]["actor"]["label"] == "dba" and found["results"][0]["is_own"]


def test_a_log_that_is_away_is_said(client: Client, settings: Any, monkeypatch: Any) -> None:
    take_log_away(settings, monkeypatch)
    response = client.get("/todos/1/history/")
    assert response.status_code == response.json()["error"]["status"] == 503
