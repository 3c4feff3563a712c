"""What the keys of contexts are called, of those that the package writes or knows."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bemi_django.admin.display.values.turned_text import in_order

#: Names by key, in the order that tells most: who, where, why, and what it is a part of.
_NAMES = {
    "user_id": _("User"),
    "tenant": _("Tenant"),
    "method": _("Method"),
    "endpoint": _("Endpoint"),
    "reason": _("Reason"),
    "task": _("Task"),
    "command": _("Command"),
    "process": _("Process"),
    "db_user": _("Database role"),
    "event": _("Event"),
    "details": _("Details"),
    "request_id": _("Request"),
    "parent_request_id": _("Parent request"),
    "task_id": _("Task run"),
    "parent_task_id": _("Parent task"),
    "command_id": _("Command run"),
    "client_request_id": _("Request id of the client"),
    "trace_id": _("Trace"),
    "span_id": _("Span"),
    "retries": _("Retries"),
    "ip": pgettext_lazy("address", "From"),
    "application_name": _("Program"),
    "connection": _("Connection"),
    "unverified": _("Unverified"),
}
_RANKS = {key: rank for rank, key in enumerate(_NAMES)}
#: Keys after those that a project has added.
_LAST = {"application_name", "connection", "unverified"}


def key_name(key: str) -> str:
    """Return what a key is called: a key that a project has added, by itself."""
    return str(_NAMES.get(key, in_order(key)))


def key_rank(key: str) -> tuple[bool, int, str]:
    """Return where a key stands among others."""
    return key in _LAST, _RANKS.get(key, len(_RANKS)), key
