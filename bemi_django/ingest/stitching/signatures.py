"""Verify what applications have signed with a key that the database does not know."""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import NamedTuple

from bemi_django.patterns import possessive
from bemi_django.wire import STATEMENT
from bemi_django.wire.defaults import CONTEXT_AGE
from bemi_django.wire.signature import COMMENT_FORM, EVENT_FORM, SETTING_FORM, SIGNATURE_KEY, signature

#: Seconds from 1970 to 2000, from which PostgreSQL counts.
_EPOCH = 946_684_800
_MARK = f',"{SIGNATURE_KEY}": "'.encode()
_STATEMENT = STATEMENT.encode()
# Behind that of a setting stands the text of the statement, which the trigger adds, and nothing else.
_REST = possessive.compiled(
    rb'(\d{1,12})\.([\w-]{22})"(?:' + _STATEMENT + rb'("[^"\\]*+(?:\\.[^"\\]*+)*+"))?\}', re.DOTALL
)
# What the statement of an event puts before what the application says.
_EVENT_START = possessive.compiled(rb'\{"schema": "[^"\\]*+(?:\\.[^"\\]*+)*+", (?="event": )', re.DOTALL)


class Signatures(NamedTuple):
    """Verifies signatures with some keys; without any key nothing is verified.

    A context is compared as bytes, so that whatever reads the same JSON in another way cannot be misled.
    ``age`` is the greatest number of seconds between a signature and the commit: who finds an older one
    cannot use it.
    """

    keys: tuple[bytes, ...] = ()
    age: int = CONTEXT_AGE

    def parted(self, content: bytes, committed_at: int) -> tuple[bytes, bool]:
        """Return a context without its signature, and whether an application has signed it.

        Args:
            content: The context as it came.
            committed_at: When its transaction has committed, in microseconds since 2000-01-01 UTC.
        """
        before, mark, rest = content.rpartition(_MARK)
        found = _REST.fullmatch(rest) if mark else None
        if found is None:
            return content, False
        seconds, code, statement = found.groups()
        form, behind = (COMMENT_FORM, b"") if statement is None else (SETTING_FORM, _STATEMENT + statement)
        # The trigger has taken the escapes of these from what was signed, which has no others.
        signed = before.replace(rb"\"", rb"\u0022").replace(b"%", rb"\u0025")
        return before + behind + b"}", self._is_valid(form, signed, int(seconds), code, committed_at)

    def verify_event(self, content: bytes, committed_at: int) -> bool:
        """Return whether an application has signed an event, a JSON object as it came."""
        start = _EVENT_START.match(content)
        before, _, rest = content.rpartition(_MARK)
        found = _REST.fullmatch(rest)
        if start is None or found is None or found[3] is not None:
            return False
        return self._is_valid(EVENT_FORM, before[start.end() :], int(found[1]), found[2], committed_at)

    def _is_valid(self, form: str, content: bytes, seconds: int, code: bytes, committed_at: int) -> bool:
        if abs(committed_at // 1_000_000 + _EPOCH - seconds) > self.age:
            return False
        given = b"%d.%b" % (seconds, code)
        return any(
            compare_digest(signature(key, form, content, seconds).encode(), given) for key in self.keys
        )


#: Verifies nothing.
NO_SIGNATURES = Signatures()
