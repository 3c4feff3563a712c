"""What the database knows of the connection that wrote a transaction, as the capture trigger sends it.

``'app'4711'gunicorn'10.0.0.1 'owner'`` is the role that has logged in, the process of the server, the name of
the program, the address, and the current role. Connections by a Unix socket have no address, and the current
role is sent only if it is another one. Names may have any bytes; a quote in them is doubled.

In the log it is an object of its own in each context of the transaction, under a key that no application can
fill: a value of theirs under it is renamed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import orjson

from bemi_django.ingest.protocol.byte_layout import PREFIX_AT, logical_content
from bemi_django.masking.json_paths import read
from bemi_django.wire import ADDRESS_KEY, CONNECTION_KEY, MESSAGE_PREFIX

_NAME = rb"(E?'(?:[^']|'')*')"
_CONNECTION = re.compile(_NAME + rb"(\d{1,10})" + _NAME + rb"([0-9A-Fa-f.:]*) (?:" + _NAME + rb")?(?=\d)")
_PREFIX = MESSAGE_PREFIX.encode() + b"\0"
_KEY = f'"{CONNECTION_KEY}"'.encode()
# Letters need no escapes: only who wants to hide a key writes them so.
_ESCAPED_LETTER = re.compile(rb"\\u00(?:[46][1-9a-fA-F]|[57][0-9aA])")


class Provenance(NamedTuple):
    """What is recorded of connections: everything that the trigger sends, or nothing."""

    is_recorded: bool = False

    def added(self, context: bytes, connection: bytes) -> bytes:
        """Return a context with what its transaction says of the connection.

        Args:
            context: A JSON object that jsonb accepts.
            connection: What the first message of the transaction said, empty if it did not.
        """
        if _KEY in context or _ESCAPED_LETTER.search(context):
            context = _without_key(context)
        if not connection or not self.is_recorded:
            return context
        end = context.rindex(b"}")
        comma = b"" if context[:end].strip() == b"{" else b","
        return b"%b%b%b}" % (context[:end], comma, _rendered(connection))


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
    role, pid, program, address, current = found.groups()
    values = {"role": _text(role), "application_name": _text(program)}
    if current:
        values["current_role"] = _text(current)
    if address:
        values[ADDRESS_KEY] = address.decode()
    return _KEY + b": " + orjson.dumps({**values, "pid": int(pid)})


def _text(literal: bytes) -> str:
    quoted = literal.removeprefix(b"E")[1:-1].replace(b"''", b"'")
    return quoted.decode("utf-8", "replace")


def _without_key(context: bytes) -> bytes:
    values = read(context)
    if CONNECTION_KEY not in values:
        return context
    return orjson.dumps(
        {f"app_{key}" if key == CONNECTION_KEY else key: value for key, value in values.items()}
    )
