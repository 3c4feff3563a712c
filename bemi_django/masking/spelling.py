"""Texts as SQL and JSON write them, so that a value is found however it is escaped."""

from __future__ import annotations

import re

_HEX = "[0-9a-fA-F]"
# From the first backslash of several: from each of them, a long row would be read to its end.
_SLASHES = r"(?<!\\)\\+"
_CHARACTER = re.compile(rf"{_SLASHES}(?:u({_HEX}{{4}})|U({_HEX}{{8}}))")
_BYTE = re.compile(rf"{_SLASHES}(?:x({_HEX}{{1,2}})|([0-7]{{1,3}}))")
_DROPPED = re.compile(rf"""{_SLASHES}[bfnrt]|[\\'"%\x00-\x1f]""")


def folded(text: str) -> str:
    """Return a text without escapes, and without what has to be escaped: then spellings of it are alike.

    Args:
        text: A value, or SQL or JSON that may have it.
    """
    found = _with_bytes(_CHARACTER.sub(_of_character, text))
    # JSON writes some characters in two halves.
    whole = found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _DROPPED.sub("", whole)


def _of_character(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    return chr(code) if code <= 0x10FFFF else ""


def _with_bytes(text: str) -> str:
    """Return a text with bytes in place of their escapes: several in a row may be one character."""
    parts, codes, end = [], bytearray(), 0
    for match in _BYTE.finditer(text):
        if match.start() > end:
            parts += [codes.decode("utf-8", "replace"), text[end : match.start()]]
            codes.clear()
        codes.append((int(match[1], 16) if match[1] else int(match[2], 8)) & 0xFF)
        end = match.end()
    return "".join([*parts, codes.decode("utf-8", "replace"), text[end:]])
