"""The keyed hash is the HMAC-SHA256 of the standard library, whatever the lengths are."""

from __future__ import annotations

import hmac
import random

from bemi_django.wire.keyed_hash import keyed_hash


def test_it_is_hmac_sha256() -> None:
    chosen = random.Random(11)
    for length in (0, 1, 16, 32, 63, 64, 65, 128, 1000):
        key = chosen.randbytes(length)
        for size in (0, 1, 55, 56, 63, 64, 65, 5000):
            message = chosen.randbytes(size)
            # The state after the key is not changed by what is hashed.
            assert keyed_hash(key)(message) == keyed_hash(key)(message) == hmac.digest(key, message, "sha256")


def test_a_vector_of_rfc_4231() -> None:
    code = keyed_hash(b"Jefe")(b"what do ya want for nothing?")
    assert code.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
