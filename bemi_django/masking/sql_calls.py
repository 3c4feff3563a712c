"""Tell statements that write what their text does not say, because functions do it."""

from __future__ import annotations

import re

from bemi_django.masking.sql_functions import calls_own
from bemi_django.masking.sql_literals import redact_literals

# A single statement of these kinds writes to the table that it names.
_WRITES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE)\b[^;]*\Z", re.IGNORECASE)
_WORD = re.compile(r"[\s(]*(\w+)")
_WRITING = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_COPY_OF_QUERY = re.compile(r"[\s(]*COPY\s*\(", re.IGNORECASE)
_AS_QUERY = re.compile(r"\bAS\b[\s(]*(?:SELECT|VALUES|EXECUTE|TABLE|WITH)\b", re.IGNORECASE)
_BODY = re.compile(r"\b(?:PERFORM|SELECT|CALL|EXECUTE)\b", re.IGNORECASE)
#: These name what they write to, or write nothing.
_PLAIN = frozenset(
    ("INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "BEGIN", "START", "COMMIT", "END", "ROLLBACK",
     "ABORT", "SAVEPOINT", "RELEASE", "SET", "RESET", "LOCK", "ALTER", "DROP", "COMMENT", "GRANT",
     "REVOKE", "ANALYZE", "DEALLOCATE", "CLOSE", "PREPARE", "LISTEN", "NOTIFY", "UNLISTEN", "DISCARD")
)  # fmt: skip


def calls_functions(sql: str) -> bool:
    """Return whether a text of one or more statements may write by functions, or by what was prepared before.

    A function is one that is not known to write nothing; what operators and casts do is not looked for.

    Args:
        sql: The text.
    """
    # Where a string ends depends on a setting of the session.
    is_clear = "\\'" not in sql
    if _WRITES.match(sql):
        return not is_clear or calls_own(redact_literals(sql, " "))
    parts = redact_literals(sql, " ").split(";")
    return not is_clear or any(_calls(part, sql) for part in parts if part.strip())


def _calls(part: str, sql: str) -> bool:
    """Return whether a statement without comments and literals calls something."""
    found = _WORD.match(part)
    word = found[1].upper() if found is not None else ""
    if word in _PLAIN:
        return calls_own(part)
    if word == "COPY":
        return _COPY_OF_QUERY.match(part) is not None
    if word in ("WITH", "EXPLAIN"):
        return _WRITING.search(part) is None or calls_own(part)
    if word == "CREATE":
        return _AS_QUERY.search(part) is not None
    # What a block does is in its literal.
    return word != "DO" or _BODY.search(sql) is not None or calls_own(sql)
