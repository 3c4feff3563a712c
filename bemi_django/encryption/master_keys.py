"""Encrypt the keys of subjects with the key of the project."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bemi_django.encryption.subject_key import SubjectRow

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_PURPOSE = b"bemi_django subject keys"


class MasterKeys:
    """The keys of ``BEMI_ENCRYPTION_KEY``: the first encrypts, all of them decrypt.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = [_cipher(key) for key in keys]

    def wrap(self, key: bytes, number: str, subject: SubjectRow) -> bytes:
        """Return a key of a subject encrypted (AES-256-GCM); it can be used for this subject only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, key, _purpose(number, subject))

    def unwrap(self, wrapped: bytes, number: str, subject: SubjectRow) -> bytes | None:
        """Return the key, or None if none of the keys of the project decrypts it."""
        return _unwrapped(self._ciphers, wrapped, _purpose(number, subject))

    def with_newest(self, wrapped: bytes, number: str, subject: SubjectRow) -> bytes | None:
        """Return a key encrypted with the first key of the project: as it is if it was, or anew.

        It is None if none of the keys of the project decrypts it.
        """
        if _unwrapped(self._ciphers[:1], wrapped, _purpose(number, subject)) is not None:
            return wrapped
        key = self.unwrap(wrapped, number, subject)
        return None if key is None else self.wrap(key, number, subject)


def _unwrapped(ciphers: Sequence[AESGCM], wrapped: bytes, purpose: bytes) -> bytes | None:
    if not ciphers:
        return None
    from cryptography.exceptions import InvalidTag

    nonce, encrypted = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
    for cipher in ciphers:
        try:
            return cipher.decrypt(nonce, encrypted, purpose)
        except (InvalidTag, ValueError):
            continue
    return None


def _cipher(key: bytes) -> AESGCM:
    # Only projects that encrypt need the package.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(_derived(key))


def _derived(key: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), 32, None, _PURPOSE).derive(key)


def _purpose(number: str, subject: SubjectRow) -> bytes:
    return json.dumps([number, *subject]).encode()
