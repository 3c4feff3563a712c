"""Every answer is as the description says, whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as tried
from openapi_spec_validator import OpenAPIV31SpecValidator

from bemi_django.api.operations import OPERATIONS, Operation
from bemi_django.models import Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import record, visitor
from tests.support.audit_api import answer

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis needs Python 3.11")
positive_data_acceptance = pytest.importorskip("schemathesis.checks").positive_data_acceptance

pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.urls("tests.support.audit_api"),
]


@pytest.fixture
def client() -> Client:
    tag = Tag.objects.create(pk=1, name="night")
    Todo.objects.create(pk=1, task="Sleep").tags.add(tag)
    record(1, operation="CREATE", before={})
    record(2, primary_key="99", operation="DELETE", after={})
    before = {"task": "Sleep", "n": 1.5, "x": None}
    record(3, before=before, context={"db_user": "dba"}, unavailable={"after": ["x"]})
    record(4, operation="GAP", primary_key=None, before={}, after={})
    permissions = ("todos.view_todo", "todos.view_tag", "todos.change_todo")
    return visitor("bemi_django.view_change", "bemi_django.revert_change", *permissions)


@pytest.fixture
def schema(client: Client, settings: Any) -> Iterator[Any]:
    """The description, whose server answers the visitor."""
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    answers = WSGIHandler()
    cookie = client.cookies["sessionid"].value

    def application(environ: Any, start_response: Any) -> Any:
        return answers({**environ, "HTTP_COOKIE": f"sessionid={cookie}"}, start_response)

    found = schemathesis.openapi.from_dict(answer(client, "openapi.json"))
    found.app = application
    # The requests are a part of the test's transaction.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield found
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


#: Parts of addresses that are there.
KNOWN = {"app_label": "todos", "model_name": "todo", "key": "1", "field": "task"}
MODES = list(schemathesis.GenerationMode)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_answers_are_as_described(schema: Any, operation: Operation, mode: Any) -> None:
    pk = str(Change.objects.values_list("pk", flat=True)[2])
    asked = {"request": {"id": "r1"}, "plan": {"change": pk}}.get(operation.name)
    statuses: list[int] = []

    @given(case=schema[f"/{operation.path}"]["GET"].as_strategy(generation_mode=mode))
    @tried(max_examples=3, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def tries(case: Any) -> None:
        if mode == MODES[0] and len(statuses) % 2:
            case.path_parameters = {name: {**KNOWN, "id": pk}[name] for name in case.path_parameters or ()}
            case.query = asked or case.query
        # A user who is searched for must exist, for example.
        statuses.append(case.call_and_validate(excluded_checks=[positive_data_acceptance]).status_code)

    tries()
    assert 200 in statuses or mode != MODES[0], statuses


def test_the_description_is_valid(client: Client) -> None:
    OpenAPIV31SpecValidator(answer(client, "openapi.json")).validate()
