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
    Python 3.11.0 to 3.11.4 go on at the wrong place after a group that fails when it has read something: what
    is repeated must not fail behind a quantifier or an assertion.

    Args:
        pattern: The pattern, in which ``*+`` stands for nothing else.
        flags: As for :func:`re.compile`.
    """
    if sys.version_info[:2] >= _SINCE:
        return re.compile(pattern, flags)
    if isinstance(pattern, str):
        return re.compile(pattern.replace("*+", "*"), flags)
    return re.compile(pattern.replace(b"*+", b"*"), flags)
