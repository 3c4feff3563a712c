"""Read in the source of a trigger's function which columns it sets at every update.

Only functions that do nothing else are read: assignments to columns of ``NEW``, all of them behind one
condition or none. Of any other function, nothing is told.
"""

from __future__ import annotations

import re

# What is no code: texts, names in quotes, comments.
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n\r]*|/\*.*?\*/""", re.DOTALL)
_LOWER_NAME = re.compile(r'"[a-z_][a-z0-9_]*"')
_PLAIN_NAME = re.compile(r'"[\w ]+"')
_OPERATION = re.compile(r"'(?:INSERT|UPDATE|DELETE)'")
_NEW, _OLD = (rf"(?:row ?)?\(? ?{row}(?: ?\. ?\*)? ?\)?" for row in ("new", "old"))
#: Conditions that hold at every update that changes something.
_CONDITION = (
    rf"\(*(?:{_NEW} is distinct from {_OLD}|{_OLD} is distinct from {_NEW}"
    r"|tg_op = 'update'|tg_op in \('insert', ?'update'\)|tg_op in \('update', ?'insert'\))\)*"
)
_COLUMN = r'new ?\. ?("[\w ]+"|\w+)'
# No blank may be matched in two ways: that would be tried in all combinations.
_ASSIGNMENT = rf"{_COLUMN} ?:?=([^;]+); ?"
_FUNCTION = re.compile(
    r"(?:declare (?P<declared>(?:(?! ?begin\b)[^;]+;)+) ?)?begin "
    rf"(?P<condition>if {_CONDITION} then )?(?P<assignments>(?:{_ASSIGNMENT})+)"
    r"(?(condition)(?:return new ?; )?end if ?; )return new ?; end ?;?"
)
_WHOLE_ROW = r"\bnew\b(?! ?\.)|\bnew ?\. ?\*"


def always_set(source: str) -> set[str]:
    """Return the columns that a function sets whenever a row is updated, and not from what they were given.

    Args:
        source: The body of a function in PL/pgSQL (``pg_proc.prosrc``).
    """
    function = _FUNCTION.fullmatch(_readable(source))
    if function is None or re.search(r"\bnew\b", function["declared"] or ""):
        return set()
    # The columns from whose given values each is set.
    given: dict[str, set[str]] = {}
    for column, value in re.findall(_ASSIGNMENT, function["assignments"]):
        read = set() if _is_counted(column, value) else set(re.findall(rf"\b{_COLUMN}", value))
        if re.search(_WHOLE_ROW, value):
            read.add("*")
        given[column] = set().union(*(given.get(one, {one}) for one in read))
    return {column.strip('"') for column, columns in given.items() if not columns & {column, "*"}}


def is_always(condition: str) -> bool:
    """Tell whether the condition of a trigger (``WHEN``) is true at every update that changes something."""
    return re.fullmatch(_CONDITION, _readable(condition)) is not None


def _is_counted(column: str, value: str) -> bool:
    """Tell whether a column only counts on from what it was given."""
    given = rf"new ?\. ?{re.escape(column)}"
    counted = rf"(?:coalesce ?\( ?{given} ?, ?\d+ ?\)|{given}) ?\+ ?\d+"
    return re.fullmatch(counted, value.strip()) is not None


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
    # A comment in a comment goes on behind its end.
    return ";;" if "/*" in quoted[2:] and quoted.startswith("/*") else " "
