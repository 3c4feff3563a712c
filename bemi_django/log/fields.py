"""Model fields of the log, and what is encrypted in them."""

from __future__ import annotations

from typing import Any

from django.db import models

from bemi_django.encryption.decryption import DecryptedRows, decrypt
from bemi_django.log.lossless_json import LosslessDecoder, loads


class RowField(models.JSONField):
    """A JSONField that reads numbers of any length and keeps every digit.

    Migrations see a plain JSONField.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "decoder": LosslessDecoder})

    def deconstruct(self) -> Any:
        """Describe the field to migrations as a plain JSONField."""
        name, _, arguments, options = super().deconstruct()
        options.pop("decoder")
        return name, "django.db.models.JSONField", arguments, options


class Decryptable:
    """A change whose rows may have encrypted values."""

    _state: Any

    def decrypted(self) -> DecryptedRows:
        """Return both rows with the values of encrypted columns: ``change.decrypted().after["email"]``."""
        change: Any = self
        return decrypt([change], loads, self._state.db)[0]
