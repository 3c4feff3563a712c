"""Who is authenticated in the view, by a token, is who is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import Client
from django.urls import path
from ninja import NinjaAPI
from ninja.security import HttpBearer
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from sample_project.todos.models import Todo
from tests.support.pipeline import Drain


class RestView(APIView):
    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]

    def post(self, request: Any) -> Response:
        Todo.objects.create(task=request.data["task"])
        return Response()


class Bearer(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        return getattr(Token.objects.filter(key=token).first(), "user", None)


class BearerOfRequestUser(Bearer):
    """As JWT packages do it."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        request.user = super().authenticate(request, token)
        return token


ninja = NinjaAPI()


@ninja.post("/auth", auth=Bearer())
@ninja.post("/user", auth=BearerOfRequestUser())
def ninja_view(request: HttpRequest, task: str) -> None:
    Todo.objects.create(task=task)


urlpatterns = [path("rest/", RestView.as_view()), path("ninja/", ninja.urls)]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("function", [None, "sample_project.todos.context.request_context"])
def test_who_is_authenticated_in_the_view_is_recorded(drain: Drain, settings: Any, function: Any) -> None:
    settings.BEMI_CONTEXT_FUNCTION = function
    user = get_user_model().objects.create_user("ann")
    token = Token.objects.create(user=user).key
    drain()
    client = Client(headers={"Authorization": f"Token {token}"})
    assert client.post("/rest/", {"task": "rest"}).status_code == 200
    bearer = Client(headers={"Authorization": f"Bearer {token}"})
    for name in ("auth", "user"):
        assert bearer.post(f"/ninja/{name}?task={name}").status_code == 200
    assert Client().post("/rest/", {"task": "rest"}).status_code == 401
    found = {change.after["task"]: change.context["user_id"] for change in drain()}
    # Whom django-ninja has authenticated, only its own attribute knows: the function has to ask for it.
    assert found == {"rest": user.pk, "auth": None if function else user.pk, "user": user.pk}
