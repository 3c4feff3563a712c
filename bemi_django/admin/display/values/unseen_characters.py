"""White space and other characters that are not seen, and the signs that stand for them in a difference."""

from __future__ import annotations

import re

_SIGNS = {
    "\t": "⇥", "\n": "↵\n", "\r": "␍", "\xa0": "⍽", "\u200b": "⟨zwsp⟩", "\u200c": "⟨zwnj⟩",
    "\u200d": "⟨zwj⟩", "\u200e": "⟨lrm⟩", "\u200f": "⟨rlm⟩", "\u2060": "⟨wj⟩", "\ufeff": "⟨bom⟩",
}  # fmt: skip
#: All but blanks, which most texts have. What turns the direction of a text has names in any text.
_UNSEEN = re.compile(
    r"[^\S ]|[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u180b-\u180e\u200b-\u200f]"
    r"|[\u2060-\u2064\u206a-\u206f\u3164\ufeff]"
)


def with_signs(text: str) -> str:
    """Return a text with signs in place of what is not seen; blanks have one if there is nothing else."""
    text = text.replace(" ", "·") if text.isspace() else text
    return _UNSEEN.sub(lambda found: _sign(found[0]), text)


def _sign(character: str) -> str:
    return _SIGNS.get(character) or f"⟨U+{ord(character):04X}⟩"
