"""Encrypt and decrypt values with the key of a subject: the row to which they belong."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import NamedTuple

#: What the text of an encrypted value begins with; the id of its key follows, then what it is encrypted to.
PREFIX = "encrypted:"
#: Bytes of a key: AES-256 in the mode SIV has two.
KEY_BYTES = 64


class SubjectRow(NamedTuple):
    """A row whose key encrypts values; ``key`` is its primary key as the log has it."""

    database: str
    schema: str
    table: str
    key: str


class SubjectKey:
    """The key of a subject.

    Equal values of a column have equal texts (AES-SIV, RFC 5297), so that a change of other columns does not
    look like one of this. A text that was altered, or moved to another column, cannot be decrypted.

    Args:
        number: The id of the key, a UUID.
        key: The key, :data:`KEY_BYTES` long.
    """

    def __init__(self, number: str, key: bytes) -> None:
        # Only projects that encrypt need the package.
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self.number = number
        self._cipher = AESSIV(key)
        self._beginning = f'"{PREFIX}{number}:'.encode()

    def encrypt(self, value: bytes, place: Sequence[bytes]) -> bytes:
        """Return a value as a string of JSON that is encrypted.

        Args:
            value: The value as JSON.
            place: The names of the database, schema, table and column.
        """
        return self._beginning + urlsafe_b64encode(self._cipher.encrypt(value, list(place))) + b'"'

    def decrypt(self, encrypted: bytes, place: Sequence[bytes]) -> bytes | None:
        """Return the value as JSON, or None if it is not one that was encrypted for this place."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(encrypted, list(place))
        except (InvalidTag, ValueError):
            return None


def parse(value: object) -> tuple[str, bytes] | None:
    """Return the id of the key of an encrypted value, and what it is encrypted to; None for other values."""
    if not isinstance(value, str) or not value.startswith(PREFIX):
        return None
    number, separator, text = value[len(PREFIX) :].partition(":")
    try:
        return (number, urlsafe_b64decode(text)) if separator else None
    except (Base64Error, ValueError):
        return None


def new_key() -> bytes:
    """Return a random key."""
    return secrets.token_bytes(KEY_BYTES)
