"""Write CSV cells that a spreadsheet shows and never runs."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from string import ascii_letters, digits
from typing import Any

_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: What a formula begins with, after compatibility characters (such as full-width signs) are normalized.
_SIGNS = frozenset("=+-@\N{MINUS SIGN}|%")


#: What nearly all texts begin with. None of it begins a formula, or is skipped in front of one.
_HARMLESS = frozenset(f'{ascii_letters}{digits}{{["/_(')


def csv_cell(value: Any) -> Any:
    """Return a value as a cell; text that a spreadsheet might run gets an apostrophe in front.

    Spreadsheets skip blanks and invisible characters before a formula. Numbers are left alone.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str) or value[:1] in _HARMLESS:
        return value
    return f"'{value}" if _is_formula(value) else value


def _is_formula(text: str) -> bool:
    if _NUMBER.fullmatch(text):
        return False
    start = next((character for character in text if not _is_invisible(character)), "")
    # A cell that begins with a tab or a line break can end up in two cells.
    return text[:1] in {"\t", "\r", "\n"} or unicodedata.normalize("NFKC", start)[:1] in _SIGNS


def _is_invisible(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in {"Cc", "Cf", "Zs", "Zl", "Zp"}
