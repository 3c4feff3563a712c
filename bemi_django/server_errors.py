"""What the server says of an error, whichever driver has it and whether Django has wrapped it."""

from __future__ import annotations


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE, empty where there is none."""
    for found in (error, error.__cause__):
        # That of psycopg 3, and that of psycopg2.
        if state := getattr(found, "sqlstate", None) or getattr(found, "pgcode", None):
            return str(state)
    return ""


def first_line(error: BaseException) -> str:
    """What to log of an error: the lines that follow may hold values of rows."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[0].split()) if lines else type(error).__name__
