"""The signature by which a worker knows that an application has made a context.

It is the last pair of the object: ``"_bemi_signature": "1795915520.9qRgvyXIo27f8dfooQbvhA"``, the time in
seconds since 1970, and the first 128 bits of an HMAC-SHA256. What is signed is the time and the text of the
object up to there, as the application writes it. The key is none that the database knows.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from bemi_django.wire.keyed_hash import keyed_hash

SIGNATURE_KEY = "_bemi_signature"

#: What is signed: a context in the comment of a statement, with its text; one that is a setting of a
#: transaction, whose statements are not known; an event. A signature of one is none of another.
COMMENT_FORM, SETTING_FORM, EVENT_FORM = "comment", "setting", "event"

_BYTES = 16
#: Base64 without its padding.
_LETTERS = 22


def signature(key: bytes, form: str, content: bytes, seconds: int) -> str:
    """Return the signature of a text.

    Args:
        key: The key.
        form: One of the forms.
        content: The text.
        seconds: When it is signed, in seconds since 1970.
    """
    signed = b"%b %d %b" % (form.encode(), seconds, content)
    code = urlsafe_b64encode(keyed_hash(key)(signed)[:_BYTES])
    return f"{seconds}.{code[:_LETTERS].decode()}"
