"""Say in words by which connection a change was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

from bemi_django.admin.display.values.turned_text import in_order

_KEYS = {"role", "current_role", "application_name", "address", "pid"}


def connection_text(connection: Any) -> str:
    """Return the connection of a context in words, or nothing if it is not as the worker writes it."""
    if not isinstance(connection, dict) or not connection.keys() <= _KEYS:
        return ""
    if not all(type(value) in (str, int) for value in connection.values()):
        return ""
    shown = {key: in_order(str(value)) for key, value in connection.items() if value != ""}
    return _(", ").join(_parts(shown))


def _parts(shown: dict[str, str]) -> Iterator[str]:
    if {"role", "address"} <= shown.keys():
        yield _("role %(role)s from %(address)s") % shown
    elif "role" in shown:
        yield _("role %(role)s") % shown
    elif "address" in shown:
        yield _("from %(address)s") % shown
    if "current_role" in shown:
        yield _("as %(role)s") % {"role": shown["current_role"]}
    if "pid" in shown:
        yield _("pid %(pid)s") % shown
    if "application_name" in shown:
        yield shown["application_name"]
