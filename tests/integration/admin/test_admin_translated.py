"""Everything that people read on a page is translated, but for what the data are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.test import Client

from bemi_django.models import AlertRule, Change
from sample_project.todos.models import Tag, Todo
from tests.support.audit import LIST, record
from tests.support.marked_texts import english, speak_marked

pytestmark = pytest.mark.django_db(databases=["default", "other"])

#: Names that are the same in all languages, and examples of what is searched for.
NAMES = {"SQL", "JSON", "Lines", "CSV", "Parquet", "UTC", "Enter", "ID", "shop", "public", "todos"}
# "True" is of Django's own list.
NAMES |= {"True", "pk", "migrations", "night", "nobody", "nothing", "soon", "root"}
OPERATIONS = ("TRUNCATE", "SKIPPED", "GAP", "BASELINE", "ERASED", "EVENT")
EVENTS = (
    "viewed",
    "exported",
    "unmasked",
    "reverted",
    "time_travel",
    "logged_in",
    "logged_out",
    "login_failed",
)

RULES = "/admin/bemi_django/alertrule/"
PAGES = [
    "",
    "?view=rows",
    "?q={&since=2020-02-30&user=nobody",
    "?q=nothing",
    "activity/?user=root",
    "deleted/",
    "health/",
    "export/?format=nope",
    "archive/",
    "travel/",
    "views/",
    "request/?id=rq",
    "transaction/{update}/",
    "timeline/todos/todo/1/?and=2020-01-01T00:00",
    "timeline/todos/todo/1/?at=soon",
    "timeline/todos/todo/1/?field=task",
    "revert/?transaction={update}",
    "revert/?since={create}",
    "revert/?undo={update}",
    *(f"{{{name}}}/change/" for name in ("update", "skipped", "gap", "erased", "event")),
    *(f"revert/?change={{{name}}}" for name in ("create", "delete", "truncate", "baseline", "event")),
]


POSTED = [
    ("travel/", {"at": "soon"}),
    ("travel/", {"at": "2020-01-01T00:00"}),
    ("views/", {}),
]


@pytest.fixture
def log(django_user_model: Any) -> dict[str, str]:
    """Changes of all kinds; the ids of some."""
    root = django_user_model.objects.create_superuser("root")
    todo = Todo.objects.create(pk=1, task="Sleep")
    todo.tags.add(Tag.objects.create(pk=1, name="night"))
    context = {"user_id": root.pk, "endpoint": "/x/", "request_id": "rq", "SQL": "UPDATE", "reason": "zzz"}
    made = {
        "create": record(1, operation="CREATE", before={}, context=context),
        "update": record(2, context=context),
        "delete": record(3, primary_key="99", operation="DELETE", after={}, context=context),
    }
    for number, operation in enumerate(OPERATIONS, 4):
        made[operation.lower()] = record(
            number, operation=operation, primary_key="1", before={}, after={}, context=context
        )
        record(number + 20, operation=operation, primary_key=None, before={}, after={}, context=context)
    for number, event in enumerate(EVENTS, 40):
        given = {"user_id": root.pk, "event": event}
        record(number, operation="EVENT", before={}, after={}, context=given)
    return {name: str(change.pk) for name, change in made.items()}


def words(text: str) -> set[str]:
    return set(re.findall("[A-Za-z]{2,}", text))


def words_of_data() -> Iterator[str]:
    """Yield the words of the log and of the models."""
    for change in Change.objects.values():
        yield from words(str([*change.values()]))
    for model in apps.get_models(include_auto_created=True):
        meta = model._meta
        yield from words(f"{meta.app_label} {meta.app_config.verbose_name} {meta.db_table}")
        yield from words(f"{meta.verbose_name_raw} {meta.verbose_name_plural}")
        for field in meta.get_fields():
            yield from words(f"{field.name} {getattr(field, 'verbose_name', '')}".replace("_", " "))
    for alias, database in settings.DATABASES.items():
        yield from words(f"{alias} {database['NAME']} test")


def test_no_text_of_a_page_is_english(
    log: dict[str, str],
    client: Client,
    django_user_model: Any,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.BEMI_AS_OF_PATIENCE, settings.BEMI_ARCHIVE, settings.BEMI_ALERTS = 0, "/nowhere", True
    client.force_login(django_user_model.objects.get(username="root"))
    known = {*NAMES, *words_of_data()}
    known |= {word.casefold() for word in known} | {word.capitalize() for word in known}
    speak_marked(monkeypatch)
    found: dict[str, str] = {}

    def read(response: Any, page: str) -> None:
        # The page of Django's own that nothing was found is English.
        assert response.status_code != 404, page
        for text in english(response.content.decode()):
            if words(text) - known:
                found.setdefault(text, page)

    for page in PAGES:
        address = re.sub(r"\{(\w+)\}", lambda match: log[match[1]], page)
        read(client.get(LIST + address, follow=True), page)
    for page, posted in POSTED:
        read(client.post(LIST + page, posted, follow=True), f"POST {page}")
    rule = {"name": "zzz", "threshold": "0", "owner": "0", "recipients": "root", "url": "https://root.zzz/"}
    for channel in AlertRule.Channel.values:
        known.update(words(channel))
        AlertRule.objects.create(kind="filter", channel=channel, **rule)
    for kind in AlertRule.Kind.values:
        read(client.post(f"{RULES}add/", {"kind": kind, "channel": "mail", "threshold": "0"}), f"POST {kind}")
    for page in ("", *(f"{rule.pk}/change/" for rule in AlertRule.objects.all())):
        read(client.get(RULES + page), RULES + page)
    assert found == {}
