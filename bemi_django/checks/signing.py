"""Check the keys with which contexts are signed."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from bemi_django.signing_keys import configured_keys


def check_keys() -> list[CheckMessage]:
    """Return an error if ``BEMI_CONTEXT_KEYS`` has a wrong key."""
    try:
        configured_keys()
    except ImproperlyConfigured as error:
        hint = (
            "A key is a secret of at least 16 bytes, such as the output of 'openssl rand -hex 32', or a "
            "function that returns one. Set BEMI_CONTEXT_KEYS to a key or to a list of keys, or remove it."
        )
        return [Error(f"{error}.", hint=hint, id="bemi.E026")]
    return []
