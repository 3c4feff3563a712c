"""Rules of alerts are made, tried out and deleted in the admin, by those who may see the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import mail
from django.test import Client

from bemi_django.alerts import webhook
from bemi_django.models import AlertRule
from tests.support.audit import LIST, record, visitor
from tests.support.receiver import receiving

RULES = "/admin/bemi_django/alertrule/"
ALL = [f"bemi_django.{action}_alertrule" for action in ("view", "add", "change", "delete")]


def page(notice: dict[str, Any]) -> None:
    raise RuntimeError(f"row of {notice}")


@pytest.fixture
def client(db: None, settings: Any) -> Iterator[Client]:
    settings.BEMI_ALERTS = True
    settings.BEMI_ALERT_HANDLERS = {"page": f"{__name__}.page"}
    yield visitor(*ALL, "bemi_django.view_change")


def filled(**fields: Any) -> dict[str, Any]:
    given = {"name": "Look", "is_active": "on", "kind": "outside", "threshold": "1000", "channel": "mail"}
    return {**given, "recipients": "ann@example.com", **fields}


def saved(client: Client, address: str = "add/", **fields: Any) -> Any:
    response = client.post(f"{RULES}{address}", filled(**fields))
    assert response.status_code in (200, 302)
    return response


def errors(response: Any) -> dict[str, list[str]]:
    return dict(response.context["adminform"].form.errors)


def test_a_rule_is_added_tried_out_and_deleted(client: Client) -> None:
    assert saved(client)["Location"] == RULES
    (rule,) = AlertRule.objects.all()
    assert rule.owner == str(client.get(RULES).wsgi_request.user.pk)
    shown = client.get(RULES).content.decode()
    assert "something was changed outside the application" in shown and "ann@example.com" in shown
    # Django's own bar of actions, whose scripts need it.
    assert 'name="index"' in shown and "delete_selected" in shown
    assert "Send a test" in client.get(f"{RULES}{rule.pk}/change/").content.decode()
    response = client.post(f"{RULES}{rule.pk}/test/", follow=True)
    assert "The mail was sent." in response.content.decode()
    (message,) = mail.outbox
    assert message.subject == "Alert: Look" and message.body.startswith("This is a test.")
    assert client.get(f"{RULES}{rule.pk}/test/").status_code == 405
    client.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"})
    assert not AlertRule.objects.exists()


def test_the_pages_say_what_to_do_and_what_a_filter_matches(client: Client) -> None:
    assert "There are no rules." in client.get(RULES).content.decode()
    saved(client, kind="filter", filter="table=todo&q=pk:1")
    assert "There are no rules." not in client.get(RULES).content.decode()
    (rule,) = AlertRule.objects.all()
    page = client.get(f"{RULES}{rule.pk}/change/").content.decode()
    assert f'<a href="{LIST}?q=pk%3A1&amp;table=todo">See what it matches</a>' in page
    assert "See what it matches" not in client.get(f"{RULES}add/").content.decode()


def test_the_secret_and_the_url_of_a_webhook_are_shown_once(client: Client, settings: Any) -> None:
    settings.BEMI_WEBHOOK_HTTP, settings.BEMI_WEBHOOK_NETWORKS = True, ["127.0.0.0/8"]
    with receiving() as receiver:
        response = saved(client, channel="webhook", url=receiver.url)
        (rule,) = AlertRule.objects.all()
        first = webhook.secret_of(rule)
        assert first in response.content.decode() and "no-store" in response["Cache-Control"]
        for path in ("", f"{rule.pk}/change/"):
            page = client.get(f"{RULES}{path}").content.decode()
            assert "127.0.0.1" in page
            assert first not in page and "of-the-path" not in page and rule.salt not in page
        # Nothing typed keeps both.
        response = saved(client, f"{rule.pk}/change/", channel="webhook", name="Renamed")
        assert response.status_code == 302
        rule.refresh_from_db()
        assert (rule.name, rule.url, webhook.secret_of(rule)) == ("Renamed", receiver.url, first)
        response = client.post(f"{RULES}{rule.pk}/test/", follow=True)
        assert "The server answered 200: thank you" in response.content.decode()
        assert receiver.received[0].notice["is_test"] is True
        receiver.statuses = [404]
        response = client.post(f"{RULES}{rule.pk}/test/", follow=True)
        assert "server answered 404" in response.content.decode()
        response = saved(client, f"{rule.pk}/change/", channel="webhook", new_secret="on")
        rule.refresh_from_db()
        assert webhook.secret_of(rule) != first and webhook.secret_of(rule) in response.content.decode()


def test_a_function_that_fails_says_no_more_than_that(client: Client) -> None:
    saved(client, channel="handler", handler="page", name="<b>")
    (rule,) = AlertRule.objects.all()
    text = client.post(f"{RULES}{rule.pk}/test/", follow=True).content.decode()
    assert "The function failed: RuntimeError" in text and "row of" not in text and "<b>" not in text


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("recipients", {"recipients": ""}),
        ("recipients", {"recipients": "ann@example.com\nBcc: x"}),
        ("url", {"channel": "webhook"}),
        ("url", {"channel": "webhook", "url": "http://example.com/"}),
        ("url", {"channel": "webhook", "url": "https://a:b@example.com/"}),
        ("handler", {"channel": "handler"}),
        ("handler", {"channel": "handler", "handler": "os.system"}),
        ("filter", {"kind": "filter"}),
        ("filter", {"kind": "filter", "filter": "view=rows"}),
        ("filter", {"kind": "filter", "filter": "since=yesterday"}),
        ("filter", {"kind": "filter", "filter": "q=task:a&user=nobody-of-this-name"}),
        ("filter", {"kind": "filter", "filter": "operation=ERASED"}),
        ("threshold", {"kind": "deletions", "threshold": "-1"}),
        ("kind", {"kind": "x"}),
    ],
)
def test_what_cannot_work_is_refused(client: Client, field: str, fields: dict[str, Any]) -> None:
    assert field in errors(saved(client, **fields))
    assert not AlertRule.objects.exists()


def test_a_filter_comes_from_the_list(client: Client) -> None:
    record(1, operation="DELETE")
    shown = client.get(f"{LIST}?operation=DELETE&q=task:Sleep&view=rows&raw=1").content.decode()
    start = shown.index(f"{RULES}add/?kind")
    address = shown[start : shown.index('"', start)].replace("&amp;", "&")
    assert parse_qs(urlsplit(address).query)["filter"] == ["q=task%3ASleep&operation=DELETE"]
    form = client.get(address).context["adminform"].form
    assert (form["kind"].value(), form["filter"].value()) == ("filter", "q=task%3ASleep&operation=DELETE")
    saved(client, kind="filter", filter=f"{LIST}?operation=DELETE&view=rows")
    assert AlertRule.objects.get().filter == "operation=DELETE"
    assert "Alert me" not in client.get(LIST).content.decode()


def test_who_sees_a_part_of_the_log_makes_filters_only(client: Client, settings: Any) -> None:
    settings.BEMI_ADMIN_SCOPE = f"{__name__}.scope"
    assert "kind" in errors(saved(client))
    assert saved(client, kind="filter", filter="operation=DELETE").status_code == 302


def scope(request: Any, changes: Any) -> Any:
    return changes.filter(table="tag")


def test_a_rule_whose_owner_may_not_see_the_log_any_more_says_so(client: Client) -> None:
    saved(client, kind="filter", filter="operation=DELETE")
    rule = AlertRule.objects.get()
    assert "its owner" not in client.get(RULES).content.decode()
    rule.owner = "0"
    rule.save()
    assert "its owner is gone" in client.get(RULES).content.decode()
    bob = visitor(name="bob")
    rule.owner = str(bob.session["_auth_user_id"])
    rule.save()
    assert "its owner may not see the log any more" in client.get(RULES).content.decode()


def test_rules_take_their_permissions_the_log_s_and_the_setting(client: Client, settings: Any) -> None:
    saved(client)
    rule = AlertRule.objects.get()
    blind, reader = visitor(*ALL, name="blind"), visitor(ALL[0], "bemi_django.view_change", name="reader")
    for other in (blind, reader):
        assert other.post(f"{RULES}add/", filled()).status_code == 403
        assert other.post(f"{RULES}{rule.pk}/change/", filled()).status_code == 403
        assert other.post(f"{RULES}{rule.pk}/test/").status_code == 403
    AlertRule.objects.update(channel="webhook", url="https://example.com/of-the-path")
    shown = reader.get(f"{RULES}{rule.pk}/change/").content.decode()
    assert "Send a test" not in shown and "example.com" in shown and "of-the-path" not in shown
    assert not mail.outbox
    settings.BEMI_ALERTS = False
    assert client.get(RULES).status_code == 403
    assert "Alert rules" not in client.get("/admin/").content.decode()
    assert "Alert me" not in client.get(f"{LIST}?operation=DELETE").content.decode()
