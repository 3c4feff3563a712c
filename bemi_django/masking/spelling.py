"""Texts as SQL and JSON write them, so that a value is found however it is escaped."""

from __future__ import annotations

import re

from bemi_django.patterns import possessive

_HEX = "[0-9a-fA-F]"
# From the first backslash of several: from each of them, a long row would be read to its end.
_SLASHES = r"(?<!\\)\\+"
_CHARACTER = re.compile(rf"{_SLASHES}(?:u({_HEX}{{4}})|U({_HEX}{{8}}))")
_ONE_BYTE = rf"{_SLASHES}(?:x{_HEX}{{1,2}}|[0-7]{{1,3}})"
_BYTES = possessive.compiled(rf"{_ONE_BYTE}(?:{_ONE_BYTE})*+")
_BYTE = re.compile(rf"x({_HEX}+)|([0-7]+)")
_DROPPED = re.compile(rf"""{_SLASHES}[bfnrt]|[\\'"%\x00-\x1f]""")


def folded(text: str) -> str:
    """Return a text without escapes, and without what has to be escaped: then spellings of it are alike.

    Args:
        text: A value, or SQL or JSON that may have it.
    """
    found = _BYTES.sub(_of_bytes, _CHARACTER.sub(_of_character, text))
    # JSON writes some characters in two halves.
    whole = found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _DROPPED.sub("", whole)


def _of_character(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    return chr(code) if code <= 0x10FFFF else ""


def _of_bytes(match: re.Match[str]) -> str:
    codes = [int(one[1], 16) if one[1] else int(one[2], 8) for one in _BYTE.finditer(match[0])]
    return bytes(code & 0xFF for code in codes).decode("utf-8", "replace")
