"""What is done to a value that must not be kept."""

from __future__ import annotations

import re
from binascii import hexlify
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from bemi_django.wire.keyed_hash import keyed_states

#: Turns a value, as JSON text, into what is kept of it, as JSON text.
Masker = Callable[[bytes], bytes]
#: Takes note of a function that failed, by the name of it and the reason in words without values.
Failed = Callable[[str, str], None]

KEEP, DROP, HASH, PARTIAL, ENCRYPT, CALL = "keep", "drop", "hash", "partial", "encrypt", "callable"
#: The actions that have names of their own; any other text is the dotted path of a function.
NAMES = (KEEP, DROP, HASH, PARTIAL, ENCRYPT)
#: What a hash begins with.
HASH_PREFIX = "hmac:"
NULL = b"null"

# Bytes of a hash.
_BYTES = 16
#: Characters that ``partial`` keeps, and how many a value needs to have for that.
_KEPT, _LONG_ENOUGH = 4, 8
_HIDDEN = "…"
_HASHED = re.compile(rb"hmac:[0-9a-f]{32}")
_QUOTED_HASH = b'"' + HASH_PREFIX.encode() + b'%b"'
_LONGEST_RESULT = 1024 * 1024
#: Bytes of the longest value whose hash is remembered.
_LONGEST_REMEMBERED = 16 * 1024


class Encryption(NamedTuple):
    """Whose key encrypts a value: that of the row itself, or of the row of ``table`` whose key ``by`` holds.

    ``table`` may have a schema; otherwise it is in that of the row.
    """

    table: str = ""
    by: str = ""


class Action(NamedTuple):
    """An action; the function if it is one, and whose key encrypts if it is ``encrypt``."""

    name: str
    function: Callable[[Any], Any] | None = None
    path: str = ""
    encryption: Encryption | None = None


def ignore_failure(function: str, reason: str) -> None:
    """Take no note of a failure."""


def masker(action: Action, key: bytes | None, failed: Failed = ignore_failure) -> Masker:
    """Return what applies an action to a value that is neither dropped nor kept.

    Args:
        action: ``hash``, ``partial`` or a function.
        key: The key of the hash.
        failed: Called for a function that fails; nothing is kept of the value then.
    """
    if action.name == HASH:
        return _hasher(text_hasher(key or b""))
    if action.name == PARTIAL:
        return partly
    function = action.function
    assert function is not None
    return lambda value: _called(function, action.path, value, failed)


def hashed(value: bytes, key: bytes) -> bytes:
    """Return the hash of a value: the same for equal values of a type, whatever the column."""
    return shared_hasher(key)(value)


@lru_cache(maxsize=8)
def shared_hasher(key: bytes) -> Masker:
    """Return what hashes values of contexts and of keys, in any threads, and leaves hashes as they are."""
    of_text = text_hasher(key)

    # The application has hashed the values of its contexts already.
    return _hasher(lambda text: b'"%b"' % text if _HASHED.fullmatch(text) else of_text(text))


def text_hasher(key: bytes) -> Masker:
    """Return what hashes the texts of a column, which are not JSON, to what :func:`hashed` makes of them."""
    # As keyed_hash() computes it, without one call more.
    inner, outer = keyed_states(key)
    # Most values that come again do so at once, before and after a change. More of them would drive what the
    # worker needs out of the processor's caches. As one object, because threads may share it.
    known: tuple[bytes | None, bytes] = None, b""

    def keep(text: bytes) -> bytes:
        nonlocal known
        last, found = known
        if text == last:
            return found
        length = len(text)
        first, second = inner(), outer()
        first.update(text)
        second.update(first.digest())
        found = _QUOTED_HASH % hexlify(second.digest()[:_BYTES])
        if length <= _LONGEST_REMEMBERED:
            known = text, found
        return found

    return keep


def _hasher(of_text: Masker) -> Masker:
    return lambda value: of_text(_text(value))


def partly(value: bytes) -> bytes:
    """Return the last characters of a value that has enough of them; nothing is kept of others."""
    if value[:1] in b"{[":
        return orjson.dumps(_HIDDEN)
    text = _text(value).decode("utf-8", "replace")
    if text.startswith(_HIDDEN) and len(text) <= 1 + _KEPT:
        return value
    return orjson.dumps(_HIDDEN + (text[-_KEPT:] if len(text) >= _LONG_ENOUGH else ""))


def _text(value: bytes) -> bytes:
    """Return the text of a value: what a string holds, and the JSON of anything else."""
    if value[:1] == b'"':
        return value[1:-1] if b"\\" not in value else str(orjson.loads(value)).encode()
    if value[:1] in b"{[":
        try:
            return orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
        except ValueError:
            return value
    return value


def _called(function: Callable[[Any], Any], path: str, value: bytes, failed: Failed) -> bytes:
    try:
        # As text, so that no digit is lost; only objects and arrays are what JSON makes of them.
        given = orjson.loads(value) if value[:1] in b"{[" else _text(value).decode()
        result = function(given)
        if not isinstance(result, (str, int, float, bool, dict, list, type(None))):
            failed(path, f"returned {type(result).__name__}")
            return NULL
        rendered = orjson.dumps(result)
        if len(rendered) > _LONGEST_RESULT or b"\\u0000" in rendered:
            failed(path, "returned a text that cannot be kept")
            return NULL
        return rendered
    # Also SystemExit of a function; one that interrupts the worker is not of the function.
    except (Exception, SystemExit) as error:
        failed(path, f"raised {type(error).__name__}")
        return NULL
