"""The keys and the store of the settings."""

from __future__ import annotations

from bemi_django.encryption.project_keys import ProjectKeys, project_keys
from bemi_django.mask_rules import encryption_rules


def configured_keys() -> ProjectKeys:
    """Return the keys of ``BEMI_ENCRYPTION_KEY`` and the store of ``BEMI_KEY_STORE``, whatever the rules are.

    Raises:
        ImproperlyConfigured: One of them is wrong.
    """
    rules = encryption_rules()
    return project_keys(rules.encryption_keys, rules.key_store)
