"""The content of the messages that are recorded as events: ``{"event": "viewed", "key": "42", ...}``.

Before the object may stand the time at which it was written, in microseconds since 2000-01-01 UTC. Its keys:

===========================  =================================================================================
``event``                    What happened: a name.
``schema``, ``table``        The table of the row that it happened to, if there is one.
``key``                      The primary key of the row, as the log has it.
``details``                  An object with whatever else is known of it.
``context``                  The context of the application.
===========================  =================================================================================

Anybody may write such a message, so each of them is checked here as contexts are. One that is not valid
becomes an event without a name, whose context holds it as text.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from bemi_django.ingest.stitching.log_encoding import storable_in
from bemi_django.ingest.stitching.provenance import marked
from bemi_django.ingest.stitching.signatures import NO_SIGNATURES, Signatures
from bemi_django.ingest.stitching.validation import MAX_BYTES, invalid_context, storable_json
from bemi_django.masking.contexts import ContextMasks
from bemi_django.wire import (
    CONNECTION_KEY,
    DETAILS_KEY,
    EVENT_KEY,
    EVENT_PLACE,
    SQL_KEY,
    UNVERIFIED_KEY,
    free_key,
)

#: Characters of the name of an event.
MAX_NAME = 100
#: Bytes of a key: an index of the log holds it.
MAX_KEY = 2000
#: Bytes of the name of a table.
_MAX_IDENTIFIER = 63
_DIGITS = b"0123456789"
#: Digits of a time.
_MAX_DIGITS = 18
_SQL = f'"{SQL_KEY}"'.encode()
_OWN_KEYS = (EVENT_KEY, DETAILS_KEY, CONNECTION_KEY, UNVERIFIED_KEY)


class Event(NamedTuple):
    """An event. ``context`` is JSON text, with the name and the details of the event.

    ``key`` is None for one that belongs to no row.
    """

    schema: str
    table: str
    key: str | None
    context: bytes
    is_invalid: bool = False


class EventReader:
    """Reads events as they are to be stored.

    Args:
        masks: Masks their contexts, of which the details are a part.
        log_encoding: The server's name of the encoding of the log's database.
        signatures: Verifies what applications have signed.
    """

    def __init__(
        self, masks: ContextMasks, log_encoding: str = "UTF8", signatures: Signatures = NO_SIGNATURES
    ) -> None:
        self._masks = masks
        self._storable = storable_in(log_encoding)
        self._signatures = signatures

    def read(self, content: bytes, committed_at: int = 0) -> Event:
        """Return the event that a message holds. This never raises because of what the message holds.

        Args:
            content: The message.
            committed_at: When it was committed, in microseconds since 2000-01-01 UTC.
        """
        body = _parted(content)[1]
        is_signed = not self._signatures.keys or self._signatures.verify_event(body, committed_at)
        try:
            return self._event(body, is_signed=is_signed)
        except ValueError:
            context = invalid_context(content)
            context = context if is_signed else marked(context)
            context = self._context(context, is_touching=_SQL in content)
            return Event(*EVENT_PLACE, None, context, True)

    def may_hold_masked(self, content: bytes) -> bool:
        """Return whether a message that is not valid may hold what is masked."""
        if _SQL in content and self._masks.has_rules:
            return True
        return self._masks.may_be_in(content)

    def _event(self, body: bytes, *, is_signed: bool) -> Event:
        if len(body) > MAX_BYTES or storable_json(body) is not body:
            raise ValueError("not a JSON object that can be stored")
        # Numbers are copied as they are written.
        values = json.loads(body, parse_int=_as_written, parse_float=_as_written)
        name = _text(values.get("event"), MAX_NAME)
        details, context = _object(values.get("details")), _object(values.get("context"))
        schema, table, key = EVENT_PLACE[0], EVENT_PLACE[1], None
        if values.get("table") is not None:
            schema = self._identifier(values.get("schema"))
            table = self._identifier(values.get("table"))
            key = None if values.get("key") is None else self._plain(_text(values["key"], MAX_KEY))
        said = {
            EVENT_KEY: name,
            **({DETAILS_KEY: details} if details else {}),
            **{free_key(key, context) if key in _OWN_KEYS else key: value for key, value in context.items()},
            **({} if is_signed else {UNVERIFIED_KEY: True}),
        }
        rendered = orjson.dumps(said)
        return Event(schema, table, key, self._context(rendered, is_touching=_SQL in rendered))

    def _context(self, context: bytes, *, is_touching: bool) -> bytes:
        return self._storable(self._masks.masked(context, is_touching=is_touching))

    def _identifier(self, value: object) -> str:
        return self._plain(_text(value, _MAX_IDENTIFIER))

    def _plain(self, text: str) -> str:
        return str(orjson.loads(self._storable(orjson.dumps(text))))


def stated_at(content: bytes) -> int | None:
    """Return when an event happened according to who wrote it, in microseconds since 2000-01-01 UTC."""
    return _parted(content)[0]


def _parted(content: bytes) -> tuple[int | None, bytes]:
    body = content.lstrip(_DIGITS)
    digits = len(content) - len(body)
    if not 0 < digits <= _MAX_DIGITS:
        return None, content
    return int(content[:digits]), body


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or not value or len(value.encode()) > most:
        raise ValueError("a text that is missing or too long")
    return value


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("details or a context that is no object")
    return value


def _as_written(literal: str) -> orjson.Fragment:
    return orjson.Fragment(literal)
