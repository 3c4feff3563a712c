"""What people are told of a change: no values of rows, for which mails and other services are no place."""

from __future__ import annotations

import json
import re
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from bemi_django.alerts import configured
from bemi_django.models import AlertRule, Change
from bemi_django.wire.visible_text import one_line

_PLAIN_NAME = re.compile(r"[\w $-]*")
_MARKUP = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&@:/.*_~`|[]()#!"}


def notice_of(rule: AlertRule, change: Change) -> dict[str, Any]:
    """Return what is sent about a change, as a JSON object."""
    committed_at = change.committed_at
    if timezone.is_naive(committed_at):
        committed_at = timezone.make_aware(committed_at, timezone.get_default_timezone())
    found = {
        "rule": rule.pk,
        "name": rule.name,
        "kind": rule.kind,
        "change": str(change.pk),
        "operation": change.operation,
        "database": change.database,
        "schema": change.schema,
        "table": change.table,
        "fields": sorted(change.diff()),
        "transaction": change.transaction_id,
        "committed_at": committed_at.isoformat(),
        "url": _url(change),
        "is_test": False,
    }
    return {**found, "text": _text(rule, found)}


def sample_of(rule: AlertRule) -> dict[str, Any]:
    """Return what is sent to try a rule out."""
    found = {
        "rule": rule.pk,
        "name": rule.name,
        "kind": rule.kind,
        "change": None,
        "operation": "UPDATE",
        "database": "example",
        "schema": "public",
        "table": "example",
        "fields": ["name"],
        "transaction": 0,
        "committed_at": timezone.now().isoformat(),
        "url": None,
        "is_test": True,
    }
    return {**found, "text": "\n".join([_("This is a test."), _text(rule, found)])}


def _text(rule: AlertRule, found: dict[str, Any]) -> str:
    # The admin is loaded when the apps are.
    from bemi_django.admin.display.values.operation_names import operation_text

    lines = [
        f"{one_line(rule.name)}: {AlertRule.Kind(rule.kind).label}",
        f"{operation_text(found['operation'])} {_name(found['schema'])}.{_name(found['table'])}, "
        f"{found['committed_at']}",
    ]
    if found["fields"] and found["operation"] == "UPDATE":
        lines.append(_("Fields: %(fields)s") % {"fields": _(", ").join(map(_name, found["fields"]))})
    if found["url"]:
        lines.append(found["url"])
    return "\n".join(lines)


def _name(text: str) -> str:
    """Return a name that mail and chat programs take for no link, no mention and no markup.

    Any role that may connect can record events of tables that do not exist, with any name.
    """
    return text if _PLAIN_NAME.fullmatch(text) else json.dumps(text).translate(_MARKUP)


def _url(change: Change) -> str | None:
    try:
        path = reverse("admin:bemi_django_change_change", args=[change.pk])
    except NoReverseMatch:
        return None
    return f"{configured.site_url()}{path}"
