"""The keys of the settings with which contexts are signed, and signatures verified."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from bemi_django.masking.settings import keys_of


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
