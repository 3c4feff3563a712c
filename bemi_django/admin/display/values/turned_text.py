"""Characters that turn the direction of the text after them, so that it reads as another one."""

from __future__ import annotations

import re

_NAMES = {
    "\u202a": "⟨lre⟩", "\u202b": "⟨rle⟩", "\u202c": "⟨pdf⟩", "\u202d": "⟨lro⟩", "\u202e": "⟨rlo⟩",
    "\u2066": "⟨lri⟩", "\u2067": "⟨rli⟩", "\u2068": "⟨fsi⟩", "\u2069": "⟨pdi⟩",
}  # fmt: skip
_TURNING = re.compile(f"[{''.join(_NAMES)}]")


def in_order(text: str) -> str:
    """Return a text with the names of such characters in their place, so that it is read as it is stored."""
    return _TURNING.sub(lambda found: _NAMES[found[0]], text)
