"""The rules of the settings for values that must not be stored."""

from __future__ import annotations

from importlib.util import find_spec

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from bemi_django.masking.rules import Rules
from bemi_django.masking.settings import rules_of
from bemi_django.secrecy.hidden import HiddenBytes


def configured_masks() -> Rules:
    """Return the rules of ``BEMI_MASK``, with the keys that they need, and the default ones.

    Raises:
        ImproperlyConfigured: A pattern, an action or a key is wrong, a key is missing, or a package is.
    """
    mask, key = getattr(settings, "BEMI_MASK", {}), getattr(settings, "BEMI_MASK_KEY", None)
    try:
        rules = rules_of(mask, key, _derived(), *_encryption())
    except (ValueError, ImportError) as error:
        raise ImproperlyConfigured(str(error)) from None
    if rules.encrypted and not rules.encryption_keys and rules.key_store is None:
        raise ImproperlyConfigured(
            "BEMI_MASK has the action 'encrypt', which needs BEMI_ENCRYPTION_KEY or BEMI_KEY_STORE"
        )
    if rules.encrypted and find_spec("cryptography") is None:
        raise ImproperlyConfigured(
            "BEMI_MASK has the action 'encrypt', which needs a package: run "
            "pip install 'bemi-django-wal[encryption]'"
        )
    return rules


def encryption_rules() -> Rules:
    """Return rules that mask nothing, with the keys of ``BEMI_ENCRYPTION_KEY`` and the store of the settings.

    Raises:
        ImproperlyConfigured: One of them is wrong.
    """
    try:
        return rules_of({}, None, None, *_encryption())
    except (ValueError, ImportError) as error:
        raise ImproperlyConfigured(str(error)) from None


def encrypted_patterns() -> list[str]:
    """Return the patterns of columns whose values are encrypted; a check reports rules that are wrong."""
    try:
        return [pattern.name for pattern, _ in configured_masks().encrypted]
    except ImproperlyConfigured:
        return []


def _encryption() -> tuple[object, object]:
    return getattr(settings, "BEMI_ENCRYPTION_KEY", None), getattr(settings, "BEMI_KEY_STORE", None)


def _derived() -> bytes | None:
    """Return a key for keys of tables that only the default rules name."""
    try:
        secret = settings.SECRET_KEY
    except ImproperlyConfigured:
        # Projects without Django have none.
        return None
    return HiddenBytes(salted_hmac("bemi_django.masking", b"", secret, algorithm="sha256").digest())
