"""What the database knows of the connection that wrote a transaction, as the capture trigger sends it.

``'app' 'owner'4711 10.0.0.1 'gunicorn'`` is the role that has logged in, the current role, the process of the
server, the address, and the name of the program. Connections by a Unix socket have no address. Names may have
any bytes; they are quoted as literals of SQL.

In the log it is an object of its own in each context of the transaction, under a key that no application can
fill: a value of theirs under it is renamed. So is the mark of contexts that no application has signed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import orjson

from bemi_django.ingest.protocol.byte_layout import PREFIX_AT, logical_content
from bemi_django.ingest.stitching.signatures import NO_SIGNATURES, Signatures
from bemi_django.masking.json_paths import read
from bemi_django.wire import ADDRESS_KEY, CONNECTION_KEY, MESSAGE_PREFIX, SQL_KEY, UNVERIFIED_KEY, free_key

# A server cuts names to 63 bytes, which may take five times as many here. Anybody may write longer ones.
_NAME = rb"(E?'(?:[^'\0]|''){0,1000}')"
_CONNECTION = re.compile(_NAME + b" " + _NAME + rb"(\d{1,10}) ([0-9A-Fa-f.:]{0,64}) " + _NAME + rb"(?=\d)")
_PREFIX = MESSAGE_PREFIX.encode() + b"\0"
_KEY, _MARK = (f'"{key}"'.encode() for key in (CONNECTION_KEY, UNVERIFIED_KEY))
_OWN_KEYS = (CONNECTION_KEY, UNVERIFIED_KEY)
#: What the trigger says of a write without a context, beside the statement.
_ROLE_KEY, _PROGRAM_KEY = "db_user", "application_name"
# Letters need no escapes: only who wants to hide a key writes them so.
(_BACKSLASH,) = b"\\"
_ESCAPED_LETTER = re.compile(rb"\\u00(?:[46][1-9a-fA-F]|[57][0-9aA])")


class Provenance(NamedTuple):
    """What is recorded of where contexts come from.

    ``is_recorded`` tells whether that is everything that the trigger sends of the connection, or nothing.
    ``signatures`` verifies contexts.
    """

    is_recorded: bool = False
    signatures: Signatures = NO_SIGNATURES

    def added(self, context: bytes, connection: bytes, *, is_signed: bool = False) -> bytes:
        """Return a context with what its transaction says of the connection, and the mark if it needs one.

        Args:
            context: A JSON object that jsonb accepts.
            connection: What the first message of the transaction said, empty if it did not.
            is_signed: Whether an application has signed the context.
        """
        # ``in`` would try these bytes as numbers first.
        has_own_key = context.find(_KEY) >= 0 or context.find(_MARK) >= 0
        if has_own_key or _BACKSLASH in context and _ESCAPED_LETTER.search(context):
            context = _without_own_keys(context)
        if self.signatures.keys and not is_signed and _claims(context, connection):
            context = marked(context)
        if not connection or not self.is_recorded:
            return context
        return _with_pair(context, _rendered(connection))


#: Records nothing.
NO_PROVENANCE = Provenance()


def parted(content: bytes) -> tuple[bytes, bytes]:
    """Return what a message says of the connection, empty if it says nothing, and the rest of it."""
    if content[:1] not in (b"'", b"E"):
        return b"", content
    found = _CONNECTION.match(content)
    return (found[0], content[found.end() :]) if found else (b"", content)


def without_connection(message: bytes) -> bytes:
    """Return a logical message with a context, without what it says of the connection."""
    content = logical_content(message, _PREFIX)
    connection, rest = parted(content or b"")
    if not connection:
        return message
    return message[: PREFIX_AT + len(_PREFIX)] + len(rest).to_bytes(4, "big") + rest


@lru_cache(maxsize=1024)
def _rendered(connection: bytes) -> bytes:
    """Return the key and the object for what :func:`parted` has found."""
    found = _CONNECTION.match(connection + b"0")
    assert found is not None
    role, current, pid, address, program = found.groups()
    values = {"role": _text(role), "application_name": _text(program)}
    if current != role:
        values["current_role"] = _text(current)
    if address:
        values[ADDRESS_KEY] = address.decode()
    return _KEY + b": " + orjson.dumps({**values, "pid": int(pid)})


def _text(literal: bytes) -> str:
    text = literal.removeprefix(b"E")[1:-1].replace(b"''", b"'")
    return (text if literal[:1] == b"'" else text.replace(b"\\\\", b"\\")).decode("utf-8", "replace")


def marked(context: bytes) -> bytes:
    """Return a context with the mark that no application has signed it."""
    return _with_pair(context, _MARK + b": true")


def _with_pair(context: bytes, pair: bytes) -> bytes:
    end = context.rindex(b"}")
    comma = b"" if context[:end].strip() == b"{" else b","
    return b"%b%b%b}" % (context[:end], comma, pair)


def _claims(context: bytes, connection: bytes) -> bool:
    """Return whether a context says more than what the trigger says of a write without one."""
    values = read(context)
    role = values.pop(_ROLE_KEY, None)
    if values.keys() - {SQL_KEY, _PROGRAM_KEY}:
        return True
    found = _CONNECTION.match(connection + b"0")
    known = None if found is None else _text(found[1])
    # Of a name in another encoding than UTF-8, some letters are not known.
    return role is not None and role != known and (known is None or "\ufffd" not in known)


def _without_own_keys(context: bytes) -> bytes:
    values = read(context)
    if values.keys().isdisjoint(_OWN_KEYS):
        return context
    return orjson.dumps(
        {free_key(key, values) if key in _OWN_KEYS else key: value for key, value in values.items()}
    )
