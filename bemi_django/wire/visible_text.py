"""Text that terminals, mails and logs show as it is: no character of it acts on its own.

Names and values can have characters that end a line, move the cursor of a terminal, or turn the direction in
which text is read. What they would hide or pretend is shown as an escape.
"""

from __future__ import annotations

import re

# Controls but for tabs and line feeds, separators of lines, marks of direction, halves of surrogate pairs.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def visible(text: str) -> str:
    """Return a text of any number of lines."""
    return _ACTING.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return a text as one line."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    # JSON has escaped all but those that it knows by four digits.
    return f"\\x{number:02x}" if number < 0x20 else f"\\u{number:04x}"
