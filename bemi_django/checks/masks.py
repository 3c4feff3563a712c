"""Check the rules about masked values."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from bemi_django import conf
from bemi_django.mask_rules import configured_masks
from bemi_django.masking.patterns import parse


def check_masks() -> list[CheckMessage]:
    """Return an error for each setting that has a wrong rule."""
    found: list[CheckMessage] = []
    try:
        configured_masks()
    except ImproperlyConfigured as error:
        hint = (
            "Set BEMI_MASK to {pattern: action}. Patterns are 'table.column', 'table.column->key' or "
            "'context->key'; actions are 'drop', 'hash', 'partial', 'encrypt', 'keep', or a function of one "
            "value. BEMI_MASK_KEY and BEMI_ENCRYPTION_KEY are secrets of at least 16 bytes, such as the "
            "output of 'openssl rand -hex 32'. BEMI_KEY_STORE is a class with the methods create(), "
            "get() and forget(), or a function that returns such a store."
        )
        found.append(Error(f"{error}.", hint=hint, id="bemi.E021"))
    for text in conf.masked_fields():
        try:
            parse(text)
        except ValueError as error:
            hint = "Write 'table.column', 'schema.table.column', 'table.column->key' or 'context->key'."
            found.append(Error(f"BEMI_MASKED_FIELDS: {error}.", hint=hint, id="bemi.E022"))
    return found
