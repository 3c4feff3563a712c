"""Decide what a user sees of encrypted values: like masked ones, they need a permission."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bemi_django import conf
from bemi_django.encryption.decryption import Decrypter, encrypted_columns
from bemi_django.log.lossless_json import loads
from bemi_django.mask_rules import encrypted_patterns
from bemi_django.models import Change


def hidden_patterns() -> list[str]:
    """Return the patterns of columns and keys whose values need a permission to see."""
    return [*conf.masked_fields(), *encrypted_patterns()]


class EncryptedRows:
    """Reads the rows of changes for a user.

    Args:
        may_read: Whether the user may see what is masked.
    """

    def __init__(self, *, may_read: bool) -> None:
        self._decrypter = Decrypter(loads) if may_read else None

    def learn(self, changes: Iterable[Change]) -> None:
        """Ask for the keys of changes at once."""
        if self._decrypter is not None:
            self._decrypter.learn(changes)

    def hidden(self, change: Change) -> frozenset[str]:
        """Return the encrypted columns of a change whose values the user cannot see."""
        found = encrypted_columns(change)
        if not found or self._decrypter is None:
            return found
        return self._decrypter.rows(change).unreadable

    def readable(self, change: Change) -> frozenset[str]:
        """Return the encrypted columns of a change whose values the user can see."""
        found = encrypted_columns(change)
        if not found or self._decrypter is None:
            return frozenset()
        rows = self._decrypter.rows(change)
        return found - rows.unreadable - rows.erased

    def erased(self, change: Change) -> frozenset[str]:
        """Return the columns of a change whose key was erased, as far as the user may know."""
        if self._decrypter is None or not encrypted_columns(change):
            return frozenset()
        return self._decrypter.rows(change).erased

    def row(self, change: Change, side: str) -> dict[str, Any]:
        """Return ``before`` or ``after`` of a change; what the user may not see is still encrypted in it."""
        row: dict[str, Any] = getattr(change, side)
        if self._decrypter is None or not encrypted_columns(change):
            return row
        found = self._decrypter.rows(change)
        readable: dict[str, Any] = {"before": found.before, "after": found.after}[side]
        return {name: row[name] if name in found.unreadable else value for name, value in readable.items()}
