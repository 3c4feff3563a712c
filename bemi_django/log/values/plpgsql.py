"""Read in the source of a trigger's function which columns it sets at every update.

Only functions that do nothing else are read: assignments to columns of ``NEW``, all of them behind one
condition or none. Of any other function, nothing is told.
"""

from __future__ import annotations

import re

# What is no code: texts, names in quotes, comments.
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_LOWER_NAME = re.compile(r'"[a-z_][a-z0-9_]*"')
_PLAIN_NAME = re.compile(r'"[\w ]+"')
_OPERATION = re.compile(r"'(?:insert|update|delete)'", re.IGNORECASE)
_ROW = r"(?:row ?)?\(? ?(?:old|new)(?: ?\. ?\*)? ?\)?"
#: Conditions that hold at every update that changes something.
_CONDITION = (
    rf"\(*(?:{_ROW} is distinct from {_ROW}"
    r"|tg_op = 'update'|tg_op in \('insert', ?'update'\)|tg_op in \('update', ?'insert'\))\)*"
)
_ASSIGNMENT = r'new ?\. ?("[\w ]+"|\w+) ?:?= ?([^;]+); ?'
_FUNCTION = re.compile(
    r"(?:declare (?:(?!begin\b)[^;]+; ?)+)?begin "
    rf"(?P<condition>if {_CONDITION} then )?(?P<assignments>(?:{_ASSIGNMENT})+)"
    r"(?(condition)(?:return new ?; )?end if ?; )return new ?; end ?;?"
)


def always_set(source: str) -> set[str]:
    """Return the columns that a function sets whenever a row is updated, and not from what they were given.

    Args:
        source: The body of a function in PL/pgSQL (``pg_proc.prosrc``).
    """
    function = _FUNCTION.fullmatch(_readable(source))
    if function is None:
        return set()
    assigned = re.findall(_ASSIGNMENT, function["assignments"])
    return {column.strip('"') for column, value in assigned if _is_own(column, value)}


def is_always(condition: str) -> bool:
    """Tell whether the condition of a trigger (``WHEN``) is true at every update that changes something."""
    return re.fullmatch(_CONDITION, _readable(condition)) is not None


def _is_own(column: str, value: str) -> bool:
    """Tell whether a value does not depend on the one that was given, or only counts on from it."""
    given = rf"new ?\. ?{re.escape(column)}(?![\w\"])"
    if re.fullmatch(rf"(?:coalesce ?\( ?{given} ?, ?\d+ ?\)|{given}) ?\+ ?\d+", value.strip()):
        return True
    # The whole row has the column, too.
    return not re.search(rf"\bnew\b(?! ?\.)|\bnew ?\. ?\*|\b{given}", value)


def _readable(source: str) -> str:
    """Return code in lower case, with single blanks, without comments and texts; empty if that is unsafe."""
    if "$" in source or "\\" in source:
        return ""
    parts, end = [], 0
    for quoted in _QUOTED.finditer(source):
        parts += [source[end : quoted.start()].lower(), _kept(quoted[0])]
        end = quoted.end()
    return re.sub(r"\s+", " ", "".join([*parts, source[end:].lower()])).strip()


def _kept(quoted: str) -> str:
    if quoted.startswith("'"):
        return quoted.lower() if _OPERATION.fullmatch(quoted) else "''"
    if quoted.startswith('"'):
        if _LOWER_NAME.fullmatch(quoted):
            return quoted[1:-1]
        # No statement has an empty name.
        return quoted if _PLAIN_NAME.fullmatch(quoted) else ";;"
    return " "
