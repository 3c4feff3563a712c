"""What operations are called."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

OPERATIONS = [
    ("CREATE", _("Create")),
    ("UPDATE", _("Update")),
    # What Django's admin calls a button is another word in some languages.
    ("DELETE", pgettext_lazy("operation", "Delete")),
    ("BASELINE", _("Baseline")),
    ("TRUNCATE", _("Truncate")),
    ("SKIPPED", _("Skipped")),
    ("GAP", _("Gap")),
    ("EVENT", _("Event")),
    ("ERASED", _("Erased")),
]


def operation_text(operation: str) -> str:
    """Return the name of an operation in the reader's language; in English it is as the log has it."""
    found = str(dict(OPERATIONS).get(operation, operation))
    return operation if found.casefold() == operation.casefold() else found
