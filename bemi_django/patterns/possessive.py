"""Compile patterns whose loops take no memory for each turn."""

from __future__ import annotations

import re
import sys
from typing import AnyStr

_SINCE = (3, 11)


def compiled(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Compile a pattern that has possessive quantifiers, ``*+``.

    A loop that could be taken back keeps a hundred bytes for each turn: a value of ten megabytes would cost
    the worker a gigabyte. Python before 3.11 has only such loops. The pattern must match the same with them.

    Args:
        pattern: The pattern, in which ``*+`` stands for nothing else.
        flags: As for :func:`re.compile`.
    """
    if sys.version_info[:2] >= _SINCE:
        return re.compile(pattern, flags)
    if isinstance(pattern, str):
        return re.compile(pattern.replace("*+", "*"), flags)
    return re.compile(pattern.replace(b"*+", b"*"), flags)
