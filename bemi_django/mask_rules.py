"""The rules of the settings for values that must not be stored."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from bemi_django.masking.rules import Rules
from bemi_django.masking.settings import rules_of


def configured_masks() -> Rules:
    """Return the rules of ``BEMI_MASK`` and ``BEMI_MASK_KEY``, and the default ones.

    Raises:
        ImproperlyConfigured: A pattern, an action or the key is wrong, or a hash has no key.
    """
    mask, key = getattr(settings, "BEMI_MASK", {}), getattr(settings, "BEMI_MASK_KEY", None)
    try:
        return rules_of(mask, key, _derived())
    except (ValueError, ImportError) as error:
        raise ImproperlyConfigured(str(error)) from None


def _derived() -> bytes | None:
    """Return a key for keys of tables that only the default rules name."""
    try:
        secret = settings.SECRET_KEY
    except ImproperlyConfigured:
        # Projects without Django have none.
        return None
    return salted_hmac("bemi_django.masking", b"", secret, algorithm="sha256").digest()
