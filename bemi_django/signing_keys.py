"""The settings of signatures: the keys, and how long a signature is worth something."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from bemi_django.masking.settings import keys_of
from bemi_django.wire.defaults import CONTEXT_AGE


def are_configured() -> bool:
    """Return whether there are keys."""
    return bool(getattr(settings, "BEMI_CONTEXT_KEYS", None))


def configured_keys() -> tuple[bytes, ...]:
    """Return ``BEMI_CONTEXT_KEYS``: the first one signs contexts, and each of them verifies.

    Raises:
        ImproperlyConfigured: A key is none, or too short. The message does not hold it.
    """
    try:
        return keys_of(getattr(settings, "BEMI_CONTEXT_KEYS", None))
    except (ValueError, ImportError) as error:
        raise ImproperlyConfigured(f"BEMI_CONTEXT_KEYS {error}") from None


def configured_age() -> int:
    """Return ``BEMI_CONTEXT_AGE``: the greatest number of seconds between a signature and the commit.

    Raises:
        ImproperlyConfigured: It is no whole number above 0.
    """
    age = getattr(settings, "BEMI_CONTEXT_AGE", CONTEXT_AGE)
    if type(age) is not int or age < 1:
        raise ImproperlyConfigured("BEMI_CONTEXT_AGE is no whole number of seconds, of at least 1")
    return age
