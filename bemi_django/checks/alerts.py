"""Check the settings of alerts."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from bemi_django.alerts import configured


def check_alerts() -> list[CheckMessage]:
    """Return an error for each setting that is wrong."""
    found: list[CheckMessage] = []
    try:
        configured.private_networks()
    except ValueError as error:
        hint = "Set it to a list of networks: ['10.0.0.0/8']."
        found.append(Error(f"BEMI_WEBHOOK_NETWORKS: {error}.", hint=hint, id="bemi.E027"))
    for name, path in configured.handlers().items():
        try:
            is_function = callable(import_string(path))
        # Importing a module runs it, which may fail in any way.
        except Exception:
            is_function = False
        if not is_function:
            message = f"BEMI_ALERT_HANDLERS: {name!r} is no function."
            hint = "Set it to {name: dotted path of fn(notice)}."
            found.append(Error(message, hint=hint, id="bemi.E027"))
    return found
