"""Tell the statements that may write rows, which get a context, from those that certainly do not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bemi_django.patterns import possessive

#: What ORMs send begins with one of these; everything else has to be read word by word.
_USUAL = {
    **dict.fromkeys(("INSERT ", "UPDATE ", "DELETE "), True),
    **dict.fromkeys(("SELECT ", "(SELECT", "SAVEPOI", "RELEASE", "ROLLBAC"), False),
}

#: First words of statements that fire no trigger of a table. A function that one of them calls may write all
#: the same; apply_context() is for that.
# fmt: off
_READING = frozenset((
    "ABORT", "ALTER", "ANALYSE", "ANALYZE", "BEGIN", "CHECKPOINT", "CLOSE", "CLUSTER", "COMMENT",
    "COMMIT", "CREATE", "DEALLOCATE", "DECLARE", "DISCARD", "DROP", "END", "FETCH", "GRANT", "IMPORT",
    "LISTEN", "LOAD", "LOCK", "MOVE", "NOTIFY", "PREPARE", "REASSIGN", "REFRESH", "REINDEX", "RELEASE",
    "RESET", "REVOKE", "ROLLBACK", "SAVEPOINT", "SECURITY", "SELECT", "SET", "SHOW", "START", "TABLE",
    "UNLISTEN", "VACUUM", "VALUES",
))
# fmt: on

_BLANK = re.compile(r"\s+|--[^\r\n]*")
_BLANK_OR_PARENTHESIS = re.compile(r"[\s(]+|--[^\r\n]*")
_WORD = re.compile(r"\w+")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
# FOR UPDATE and FOR NO KEY UPDATE are clauses of a SELECT that locks rows.
_WRITE_INSIDE = re.compile(r"\b(?:INSERT|(?<!FOR\s)(?<!KEY\s)UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_EXPLAIN_OPTIONS = re.compile(r"\s*\((?P<listed>[^()]*)\)|\s*\b(?P<word>ANALY[SZ]E|VERBOSE)\b", re.IGNORECASE)
_ANALYZE = re.compile(r"ANALY[SZ]E", re.IGNORECASE)
# Where a semicolon can stand without ending a statement begins with one of these.
_EDGE = re.compile(
    r"""(?P<end>;)|(?P<comment>/\*)|(?P<line>--)|(?P<escaped>(?<![\w$])[eE]')|(?P<quote>['"])"""
    r"""|(?P<dollar>(?<![\w$])\$(?:[^\W\d]\w*)?\$)"""
)
_CLOSING = {
    "--": re.compile(r"[^\r\n]*"),
    "e'": possessive.compiled(r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'(?!')", re.DOTALL),
}


def is_write(sql: str) -> bool:
    """Return whether a statement may write rows and therefore gets a context.

    Args:
        sql: Text of one statement or of several.

    Returns:
        False only if all of them are known not to write.
    """
    usual = _USUAL.get(sql[:7])
    if usual:
        return True
    if ";" in sql:
        return any(_may_write(sql, start) for start in _starts(sql))
    return usual is None and _may_write(sql, 0)


def first_words(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the first two words of each statement of a text, in upper case; empty where there is none."""
    for start in _starts(sql):
        words = ["", ""]
        for number in range(2):
            start = _skip(_BLANK_OR_PARENTHESIS, sql, start)
            if word := _WORD.match(sql, start):
                words[number], start = word[0].upper(), word.end()
        yield words[0], words[1]


def _may_write(sql: str, start: int) -> bool:
    """Judge the statement that begins at a position."""
    start = _skip(_BLANK_OR_PARENTHESIS, sql, start)
    word = _WORD.match(sql, start)
    if word is None:
        # Nothing, or something that is no statement.
        return start < len(sql) and sql[start] != ";"
    name = word[0].upper()
    if name == "WITH":
        return _WRITE_INSIDE.search(sql, word.end()) is not None
    if name == "EXPLAIN":
        return _explains_write(sql, word.end())
    return name not in _READING


def _explains_write(sql: str, start: int) -> bool:
    """Judge the statement that EXPLAIN runs if it has the option ANALYZE."""
    is_run = False
    while options := _EXPLAIN_OPTIONS.match(sql, _skip(_BLANK, sql, start)):
        is_run = is_run or _ANALYZE.search(options[0]) is not None
        start = options.end()
    return is_run and _may_write(sql, start)


def _starts(sql: str) -> Iterator[int]:
    """Produce the positions at which the statements of a text begin, as PostgreSQL's lexer finds them."""
    yield 0
    position = 0
    while edge := _EDGE.search(sql, position):
        position = _end_of(sql, edge)
        if edge.lastgroup == "end":
            yield position


def _end_of(sql: str, edge: re.Match[str]) -> int:
    """Return where the token that begins at an edge ends; an unterminated one takes the rest of the text."""
    if edge.lastgroup == "end":
        return edge.end()
    if edge.lastgroup == "comment":
        return _comment_end(sql, edge.start())
    # The second of two doubled quotes begins another string, which makes no difference here.
    closing = _CLOSING.get(edge[0].lower())
    ending = closing.match(sql, edge.end()) if closing else None
    if ending:
        return ending.end()
    found = sql.find(edge[0], edge.end())
    return found + len(edge[0]) if closing is None and found >= 0 else len(sql)


def _skip(blank: re.Pattern[str], sql: str, position: int) -> int:
    """Return the first position from which neither the pattern nor a comment matches."""
    while True:
        if found := blank.match(sql, position):
            position = found.end()
        elif sql.startswith("/*", position):
            position = _comment_end(sql, position)
        else:
            return position


def _comment_end(sql: str, start: int) -> int:
    # Comments nest in PostgreSQL, which a regular expression cannot follow.
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
