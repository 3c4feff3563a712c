"""Check the keys with which contexts are signed, and the age of signatures."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from bemi_django.signing_keys import configured_age, configured_keys

_KEYS = (
    "A key is a secret of at least 16 bytes, such as the output of 'openssl rand -hex 32', or a "
    "function that returns one. Set BEMI_CONTEXT_KEYS to a key or to a list of keys, or remove it."
)
_AGE = "Set it to the seconds for which the longest transaction is open, such as 600, or remove it."


def check_keys() -> list[CheckMessage]:
    """Return errors if ``BEMI_CONTEXT_KEYS`` has a wrong key, or ``BEMI_CONTEXT_AGE`` is no number."""
    found: list[CheckMessage] = []
    for read, hint in ((configured_keys, _KEYS), (configured_age, _AGE)):
        try:
            read()
        except ImproperlyConfigured as error:
            found.append(Error(f"{error}.", hint=hint, id="bemi.E026"))
    return found
