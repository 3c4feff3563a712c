"""The audit view says up to when the log is sealed."""

from __future__ import annotations

from typing import Any

from django.test import Client

from bemi_django.admin.pages.health.health_sources import source_facts
from bemi_django.models import Change
from bemi_django.templatetags.audit_moments import moment
from sample_project.todos.models import Todo
from tests.integration.seals.conftest import SLOT
from tests.support.audit import LIST
from tests.support.pipeline import Pipeline


def test_the_page_of_a_change_and_the_health_page_say_until_when_the_log_is_sealed(
    sealing: Pipeline, admin_client: Client, settings: Any
) -> None:
    settings.BEMI_SLOT = SLOT
    Todo.objects.create(task="sealed")
    sealing.run()
    change = Change.objects.filter(table="todo").get()
    page = admin_client.get(f"{LIST}{change.pk}/change/")
    assert page.status_code == 200
    assert f"sealed until {moment(page.context['sealed_until'])}" in page.content.decode()
    facts, _chart = source_facts("default", None)
    (fact,) = [fact for fact in facts if fact.label == "Sealed until"]
    assert (fact.state, fact.hint) == ("good", "")
    sealing.run(sealing.config._replace(is_sealed=False))
    facts, _chart = source_facts("default", None)
    (fact,) = [fact for fact in facts if fact.label == "Sealed until"]
    assert fact.hint == "Changes that came later are not sealed."
