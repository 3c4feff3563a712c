"""What PostgreSQL stores of a password."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode


def verifier(password: str) -> str:
    """Return the verifier of a password, which ``CREATE ROLE ... PASSWORD`` takes in its place (RFC 5803).

    It has one iteration instead of 4,096, which make each connection slow. They protect passwords that can be
    guessed: this is for random ones, and for those of tests.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    stored = hashlib.sha256(client).digest()
    with_salt, of_client, of_server = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256$1:{with_salt}${of_client}:{of_server}"
