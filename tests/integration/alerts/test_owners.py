"""A rule finds what its owner may see at the time, and waits while nobody can say what that is."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.sites import DefaultAdminSite
from django.contrib.auth import get_user_model
from django.db import OperationalError

from bemi_django.alerts import saved_filter
from bemi_django.handlers.dispatch import Dispatcher
from sample_project.todos.models import Todo
from tests.integration.alerts.test_alarms import QUICK, Serve, called, rule, serve
from tests.support.audit import visitor
from tests.support.pipeline import Drain

__all__ = ["serve"]


@pytest.fixture
def owner(serve: Serve) -> Any:
    client = visitor("bemi_django.view_change")
    found = get_user_model().objects.get(pk=client.session["_auth_user_id"])
    rule("filter", owner=str(found.pk), filter="table=todo")
    return found


@pytest.mark.parametrize("right", ["is_active", "is_staff"])
def test_an_owner_who_may_not_see_the_log_any_more_is_told_nothing(
    right: str, owner: Any, drain: Drain
) -> None:
    dispatcher = Dispatcher("default", rhythm=QUICK)
    dispatcher.run(until_current=True)
    Todo.objects.create(task="seen")
    drain()
    dispatcher.run(until_current=True)
    assert len(called) == 1
    get_user_model().objects.filter(pk=owner.pk).update(**{right: False})
    Todo.objects.create(task="hidden")
    drain()
    dispatcher.run(until_current=True)
    assert len(called) == 1


def test_a_database_that_fails_for_a_moment_silences_no_rule(
    owner: Any, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    Dispatcher("default", rhythm=QUICK).run(until_current=True)
    form, failures = saved_filter._form, [OperationalError("the server is gone")] * 2

    def fail_at_first(one: Any) -> Any:
        if failures:
            raise failures.pop()
        return form(one)

    monkeypatch.setattr(saved_filter, "_form", fail_at_first)
    Todo.objects.create(task="seen")
    drain()
    Dispatcher("default", rhythm=QUICK).run(until_current=True)
    assert len(called) == 1 and failures == []


def test_a_worker_whose_settings_leave_out_the_admin_finds_what_a_rule_says(
    owner: Any, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "django.contrib.admin" and installed(name))
    monkeypatch.setattr(apps, "app_configs", {k: v for k, v in apps.app_configs.items() if k != "admin"})
    monkeypatch.setattr(admin, "site", DefaultAdminSite())
    Dispatcher("default", rhythm=QUICK).run(until_current=True)
    Todo.objects.create(task="seen")
    drain()
    Dispatcher("default", rhythm=QUICK).run(until_current=True)
    assert len(called) == 1
