"""Rules tell people of changes, by the worker's handlers: at least once, and once in a transaction."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import connection, models, transaction
from django.test.utils import isolate_apps
from django.utils import translation

from bemi_django.alerts import alarm, webhook
from bemi_django.alerts.notice import notice_of
from bemi_django.handlers import registry
from bemi_django.handlers.dispatch import Dispatcher
from bemi_django.handlers.rhythm import Rhythm
from bemi_django.models import AlertRule, Change, Undelivered
from sample_project.todos.models import Tag, Todo
from tests.support.audit import record, visitor
from tests.support.pipeline import Drain
from tests.support.project_database import execute
from tests.support.receiver import receiving

QUICK = Rhythm(first_pause=0.05, longest_pause=0.1, look=0.01, note=0.0, grace=0.3, renew=0.0)
Serve = Callable[[], int]
called: list[dict[str, Any]] = []


def page(notice: dict[str, Any]) -> None:
    called.append(notice)


@pytest.fixture
def serve(drain: Drain, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Bring the log and the alerts to the present."""
    settings.BEMI_SLOT, settings.BEMI_ALERTS = "bemi_test", True
    settings.BEMI_ALERT_HANDLERS = {"page": f"{__name__}.page"}
    settings.BEMI_WEBHOOK_HTTP, settings.BEMI_WEBHOOK_NETWORKS = True, ["127.0.0.0/8"]
    monkeypatch.setattr(registry, "registered", {})
    called.clear()

    def run() -> int:
        drain()
        return Dispatcher("default", rhythm=QUICK).run(until_current=True)

    yield run
    AlertRule.objects.all().delete()
    execute("DELETE FROM _bemi.handlers")
    execute("DELETE FROM _bemi.undelivered")


def rule(kind: str, **fields: Any) -> AlertRule:
    given = {"name": "Look", "owner": "0", "channel": "handler", "handler": "page", "salt": "x"}
    return AlertRule.objects.create(kind=kind, **{**given, **fields})


def told() -> list[tuple[str, str]]:
    found = [(notice["operation"], notice["table"]) for notice in called]
    called.clear()
    return found


def from_outside(statement: str, *parameters: object) -> None:
    """Write as psql does: without a hook of ours."""
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.cursor.execute(statement, parameters or None)


def test_whoever_becomes_a_superuser_is_told_of(serve: Serve) -> None:
    rule("superuser")
    serve()
    users = get_user_model().objects
    users.create_user("ann")
    users.create_superuser("root")
    ann = users.get(username="ann")
    ann.first_name = "Ann"
    ann.save()
    assert (serve(), told()) == (1, [("CREATE", "auth_user")])
    ann.is_superuser = True
    ann.save()
    ann.first_name = "Anna"
    ann.save()
    assert (serve(), told()) == (1, [("UPDATE", "auth_user")])
    assert serve() == 0


@isolate_apps("tests.shop")
def test_superusers_are_known_wherever_the_project_keeps_them(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Account(models.Model):
        is_superuser = models.BooleanField(db_column="Root")

        class Meta:
            app_label = "shop"
            db_table = 'hr"."account'

        def __str__(self) -> str:
            return "account"

    class Employee(Account):
        class Meta:
            app_label = "shop"

    monkeypatch.setattr(alarm, "get_user_model", lambda: Employee)
    for number, schema in enumerate(("hr", "public")):
        record(number, schema=schema, table="account", before={"Root": False}, after={"Root": True})
    found = alarm.Alarm(AlertRule(kind="superuser")).narrow(Change.objects.all())
    assert [change.schema for change in found] == ["hr"]


def test_changes_outside_the_application_are_told_of_once_in_a_transaction(serve: Serve) -> None:
    rule("outside")
    serve()
    Todo.objects.create(task="Inside")
    from_outside("INSERT INTO tag (name) SELECT 'x' || n FROM generate_series(1, 5) n")
    from_outside("UPDATE tag SET name = name || '!'")
    serve()
    assert told() == [("CREATE", "tag"), ("UPDATE", "tag")]


def test_more_deleted_rows_than_the_threshold_are_told_of(serve: Serve) -> None:
    rule("deletions", threshold=3)
    serve()
    Tag.objects.bulk_create([Tag(name=str(number)) for number in range(12)])
    for begin, end in ((0, 3), (3, 6)):
        Tag.objects.filter(name__in=[str(number) for number in range(begin, end)]).delete()
    serve()
    assert told() == []
    with transaction.atomic():
        for number in range(6, 12):
            Tag.objects.filter(name=str(number)).delete()
    serve()
    assert told() == [("DELETE", "tag")]
    from_outside("TRUNCATE tag CASCADE")
    serve()
    assert ("TRUNCATE", "tag") in told()


def test_a_filter_finds_what_its_owner_would_find(serve: Serve, settings: Any) -> None:
    visitor("bemi_django.view_change")
    owner = get_user_model().objects.get(username="ann")
    rule("filter", filter="q=task:Sleep&operation=UPDATE", owner=str(owner.pk))
    masked = rule("filter", filter="q=task:Sleep", owner=str(owner.pk), name="Masked")
    serve()
    todo, other = Todo.objects.create(task="Sleep"), Todo.objects.create(task="Eat")
    for one in (todo, other):
        one.is_completed = True
        one.save()
    serve()
    assert [(notice["name"], notice["operation"]) for notice in called] == [
        ("Look", "UPDATE"),
        ("Masked", "CREATE"),
        ("Masked", "UPDATE"),
    ]
    called.clear()
    # What its owner may not search for, a rule does not find either.
    settings.BEMI_MASKED_FIELDS = ["todo.task"]
    todo.save()
    serve()
    assert told() == []
    settings.BEMI_MASKED_FIELDS = []
    masked.delete()
    owner.user_permissions.clear()
    todo.is_completed = False
    todo.save()
    serve()
    assert told() == []


def test_rows_of_a_baseline_are_told_of_by_a_filter_that_names_them(
    serve: Serve, drain: Drain, django_user_model: Any
) -> None:
    owner = str(django_user_model.objects.create_superuser("root").pk)
    rule("filter", filter="operation=BASELINE", owner=owner)
    rule("filter", filter="table=public.todo", owner=owner)
    serve()
    Todo.objects.create(task="older than the log")
    drain()
    Change.objects.filter(table="todo").update(operation="BASELINE")
    serve()
    assert told() == [("BASELINE", "todo")]


def test_a_notice_has_no_values(serve: Serve, settings: Any) -> None:
    settings.BEMI_SITE_URL = "https://shop.example/"
    made = rule("outside")
    rule("outside", channel="mail", recipients="ann@example.com, bob@example.com\n", name="Look\nout")
    todo = Todo.objects.create(task="Secret thing")
    serve()
    from_outside("UPDATE todo SET task = 'Other secret' WHERE id = %s", todo.pk)
    serve()
    (notice,), (message,) = called, mail.outbox
    assert notice["fields"] == ["task"] and notice["operation"] == "UPDATE"
    assert notice["url"] == f"https://shop.example/admin/bemi_django/change/{notice['change']}/change/"
    assert message.subject == "Alert: Look out"
    assert message.to == ["ann@example.com", "bob@example.com"]
    assert notice["url"] in message.body and "UPDATE public.todo" in message.body
    with translation.override("de"):
        assert "\nÄndern public.todo, " in notice_of(made, Change.objects.get(pk=notice["change"]))["text"]
    for text in (str(notice), message.body):
        assert "ecret" not in text


def test_a_webhook_is_signed_and_retried(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as receiver:
        made = rule("outside", channel="webhook", url=receiver.url)
        other = rule("outside", name="Other")
        serve()
        receiver.statuses = [500, 302]
        from_outside("INSERT INTO tag (name) VALUES ('x')")
        serve()
    first, second, third = receiver.received
    assert first.body == third.body and first.path == "/hook?token=of-the-path"
    assert {one.headers["Bemi-Delivery"] for one in receiver.received} == {
        f"{made.pk}:{third.notice['change']}"
    }
    signed = third.headers["Bemi-Timestamp"].encode() + b"." + third.body
    expected = hmac.new(webhook.secret_of(made).encode(), signed, hashlib.sha256).hexdigest()
    assert third.headers["Bemi-Signature"] == f"sha256={expected}"
    assert told() == [("CREATE", "tag")] and other.pk
    assert "AlertFailed" in caplog.text
    assert "of-the-path" not in caplog.text and webhook.secret_of(made) not in caplog.text


def test_what_is_never_accepted_is_kept_without_the_url(serve: Serve, monkeypatch: Any) -> None:
    from bemi_django.alerts import alarm

    monkeypatch.setattr(alarm, "_RETRIES", 1)
    with receiving() as receiver:
        rule("outside", channel="webhook", url=receiver.url)
        serve()
        receiver.statuses = [500] * 9
        from_outside("INSERT INTO tag (name) VALUES ('x')")
        serve()
    (letter,) = Undelivered.objects.all()
    assert "the server answered 500" in letter.reason and "of-the-path" not in letter.reason


def test_rules_are_served_and_forgotten_while_the_worker_runs(serve: Serve) -> None:
    first = rule("outside")
    dispatcher = Dispatcher("default", rhythm=QUICK)
    assert dispatcher.has_handlers
    serve()
    from_outside("INSERT INTO tag (name) VALUES ('x')")
    serve()
    # A rule that is added begins at the present.
    rule("outside", name="Second")
    serve()
    assert len(told()) == 1
    AlertRule.objects.filter(pk=first.pk).update(is_active=False)
    from_outside("INSERT INTO tag (name) VALUES ('y')")
    serve()
    assert [notice["name"] for notice in called] == ["Second"]
    # The log would be kept for it.
    names = [name for (name,) in execute("SELECT handler FROM _bemi.handlers")]
    assert f"alert:{first.pk}" not in names and len(names) == 1


def test_a_worker_that_began_without_rules_takes_up_the_first_one(
    serve: Serve, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    dispatcher = Dispatcher("default", rhythm=QUICK)

    def course() -> Iterator[None]:
        rule("outside")
        yield
        from_outside("INSERT INTO tag (name) VALUES ('x')")
        drain()
        yield
        dispatcher.stop()
        yield

    looks = course()
    monkeypatch.setattr(dispatcher._stop, "wait", lambda seconds: next(looks))
    dispatcher.run()
    assert told() == [("CREATE", "tag")]


def test_a_running_worker_takes_up_rules_that_are_altered(serve: Serve) -> None:
    made = rule("outside")
    serve()
    dispatcher = Dispatcher("default", rhythm=QUICK)
    log = dispatcher._log.history()
    dispatcher._round(log)
    same = dispatcher._deliveries[0]
    dispatcher._round(log)
    assert dispatcher._deliveries[0] is same
    AlertRule.objects.filter(pk=made.pk).update(name="Renamed")
    dispatcher._round(log)
    assert dispatcher._deliveries[0] is not same
    AlertRule.objects.all().delete()
    dispatcher._round(log)
    assert dispatcher._deliveries == []


def test_without_the_setting_nothing_is_evaluated(serve: Serve, settings: Any) -> None:
    rule("outside")
    settings.BEMI_ALERTS = False
    assert not Dispatcher("default", rhythm=QUICK).has_handlers


def test_tenants_do_not_share_rules(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    rule("outside")
    assert Dispatcher("default", rhythm=QUICK).has_handlers
    monkeypatch.setattr("bemi_django.alerts.configured.tenancy.has_tenants", lambda alias: True)
    assert not Dispatcher("default", rhythm=QUICK).has_handlers


NAMES = (
    "x\n\nhttps://evil.example",
    "<https://evil.example|Log in>",
    "@channel",
    "\u202etxt.exe",
    "[a](//b.c)",
)


def test_no_name_adds_a_line_a_link_or_a_mention_to_what_people_are_told(
    serve: Serve, django_user_model: Any
) -> None:
    owner = str(django_user_model.objects.create_superuser("root").pk)
    rule("filter", owner=owner, filter="operation=EVENT", channel="mail", recipients="ann@example.org")
    rule("filter", owner=owner, filter="operation=EVENT")
    serve()
    for name in NAMES:
        # Any role that may connect can do so.
        event = json.dumps({"event": "e", "schema": "public", "table": name})
        execute("SELECT pg_logical_emit_message(true, '_bemi_event', %s::text)", [event])
    serve()
    assert [notice["table"] for notice in called] == list(NAMES)
    for text in (*(str(message.body) for message in mail.outbox), *(notice["text"] for notice in called)):
        about = text.splitlines()[1]
        assert about.startswith("EVENT public.") and len(text.splitlines()) == 3
        shown = about.removeprefix("EVENT public.").partition(", ")[0]
        assert not set(shown) & set("<>@/|[]()\u202e\n")
    assert len(mail.outbox) == len(NAMES)
