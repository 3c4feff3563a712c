"""Tell errors that only an administrator can fix from those that may pass, and say what to do."""

from __future__ import annotations

import re
import traceback
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from bemi_django.exceptions import (
    BemiError,
    Disrupted,
    KeyStoreUnavailable,
    ProtocolError,
    Refused,
    SinkUnavailable,
    SlotInUse,
    Superseded,
    Unsendable,
    first_line,
)
from bemi_django.schema import installed
from bemi_django.schema.sql import quote

# Classes of SQLSTATE that an administrator has to fix: rights, names, missing objects, features.
_LASTING = ("0A", "28", "3D", "42")
_PASSING = (Disrupted, KeyStoreUnavailable, SinkUnavailable, SlotInUse, Superseded, Unsendable)
_NO_RIGHT, _NOT_SUPPORTED = "42501", "0A000"
# Classes of SQLSTATE that say nothing about the message at hand: connections, rights, configuration, locks,
# resources, operators.
_NOT_OF_A_MESSAGE = ("08", "25", "28", "3D", "40", "42", "53", "55", "57", "58")
_UNKNOWN = ("42P01", "42703", "42883")

# libpq has no SQLSTATE for a refused connection, only the server's words. What to do about them:
_ADVICE = {
    "wal ?sender": "run as superuser: ALTER ROLE {role} REPLICATION (RDS: GRANT rds_replication TO {role})",
    "password authentication failed|no password supplied": "correct USER and PASSWORD in DATABASES",
    r"pg_hba\.conf": "let {role} in with a line of pg_hba.conf, then reload the server's configuration",
    "not permitted to log in": "run as superuser: ALTER ROLE {role} LOGIN",
    "permission denied for database": "run as its owner: GRANT CONNECT ON DATABASE {database} TO {role}",
    'role ".*" does not exist': "create the role, or correct USER in DATABASES",
    'database ".*" does not exist': "create the database, or correct NAME in DATABASES",
    "invalid connection option|does not exist": "correct OPTIONS in DATABASES",
}
# The rights that the worker needs on our objects.
_RIGHTS = {
    "table checkpoint": "SELECT, INSERT, UPDATE ON _bemi.checkpoint",
    "table dead_letters": "INSERT ON _bemi.dead_letters",
    "table activity_entries": "INSERT ON _bemi.activity_entries",
    "table lanes": "SELECT, INSERT, UPDATE, DELETE ON _bemi.lanes",
    "table histories": "SELECT, INSERT ON _bemi.histories",
    "table relations": "SELECT ON _bemi.relations",
    "table baselines": "SELECT ON _bemi.baselines",
    "table baseline_rows": "SELECT ON _bemi.baseline_rows",
    "table accepted": "SELECT, INSERT ON _bemi.accepted",
    "table chains": "SELECT ON _bemi.chains",
    "table subject_keys": "SELECT, INSERT ON _bemi.subject_keys",
    "view incomplete": "SELECT ON _bemi.incomplete",
    "view lost_months": "SELECT ON _bemi.lost_months",
    "table verifications": "SELECT, INSERT, UPDATE, DELETE ON _bemi.verifications",
    "table verified": "SELECT, INSERT, UPDATE, DELETE ON _bemi.verified",
    "table omitted_columns": "SELECT, INSERT, UPDATE ON _bemi.omitted_columns",
    "table omitted_changes": "SELECT, INSERT, UPDATE ON _bemi.omitted_changes",
}


def is_lasting(error: Exception) -> bool:
    """Return whether trying again would fail in the same way."""
    if isinstance(error, psycopg2.Error):
        return is_lasting_state(error.pgcode or "")
    return isinstance(error, BemiError) and not isinstance(error, _PASSING)


def is_lasting_state(state: str) -> bool:
    """Return whether an error with this SQLSTATE would occur again."""
    return state[:2] in _LASTING


def raise_unless_of_message(error: Exception) -> None:
    """Raise the error again, unless it is the fault of the message that was being read.

    Args:
        error: Whatever reading the message has raised, including errors of the source's server.
    """
    if isinstance(error, psycopg2.Error):
        if not error.pgcode or error.pgcode.startswith(_NOT_OF_A_MESSAGE):
            raise error
    elif isinstance(error, BemiError) and not isinstance(error, ProtocolError):
        raise error


def reason_of_message(error: Exception) -> str:
    """Return what a dead letter says about the error: its place in the code if it was not expected."""
    if isinstance(error, ProtocolError):
        return str(error)
    if isinstance(error, psycopg2.Error):
        return f"{error.pgcode}: {first_line(error)}"
    places = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__}" + "".join(f" in {place.name}, line {place.lineno}" for place in places)


def of_connection(error: Exception, parameters: dict[str, Any]) -> Refused | None:
    """Return the advice for a connection that failed, or None if trying again may help.

    Args:
        error: What libpq raised.
        parameters: The parameters of libpq that were used.
    """
    role = quoted(parameters.get("user") or "the_role")
    database = quoted(parameters.get("dbname") or "the_database")
    # There is a line for each address of the host; the refusal need not be in the first.
    lines = str(error).splitlines()
    for pattern, advice in _ADVICE.items():
        for line in lines:
            if re.search(pattern, line, re.IGNORECASE):
                return Refused(f"{' '.join(line.split())}: {advice.format(role=role, database=database)}")
    return None


def of_statement(error: psycopg2.Error) -> Refused | None:
    """Return the advice for a statement that failed, or None if trying again may help."""
    if not is_lasting(error):
        return None
    reason = first_line(error)
    if error.pgcode == _NO_RIGHT:
        return Refused(f"{reason}: {_grant(error, reason)}")
    if error.pgcode in _UNKNOWN:
        return Refused(f"{reason}: run 'manage.py migrate bemi_django' (--database)")
    if error.pgcode == _NOT_SUPPORTED and "row-level security" in reason:
        log: str = getattr(error.cursor and error.cursor.connection, "log", "") or "changes"
        return Refused(f"{reason}: run as the owner: ALTER TABLE {log} DISABLE ROW LEVEL SECURITY")
    return Refused(reason)


def quoted(identifier: str) -> str:
    """Return the identifier for a statement that a person runs, with quotes only where it needs them."""
    if re.fullmatch("[a-z_][a-z0-9_]*", identifier):
        return identifier
    return quote(identifier)


def _grant(error: psycopg2.Error, reason: str) -> str:
    denied = re.search(r"permission denied for (\w+ .+)$", reason)
    right = _right(error, denied[1]) if denied else None
    if right is None and (schema := re.search(r"permission denied for schema (\S+)", reason)):
        right = f"USAGE ON SCHEMA {schema[1]}"
    if right is None or error.cursor is None:
        return "grant it to the worker's role"
    connection = error.cursor.connection
    # libpq forgets them when the connection is closed.
    given = parse_dsn(connection.dsn)
    database = connection.info.dbname or given.get("dbname", "the_database")
    role = connection.info.user or given.get("user", "the_role")
    return f"run as the owner in {quoted(database)}: GRANT {right} TO {quoted(role)}"


def _right(error: psycopg2.Error, what: str) -> str | None:
    # A connection to the log knows its name.
    log: str = getattr(error.cursor and error.cursor.connection, "log", "")
    if log and what == f"table {(name := installed.parts(log)).name}":
        return f"INSERT ON {quoted(name.name) if name.schema == 'public' else log}"
    if ours := re.fullmatch(r"function (\w+_v\d+)", what):
        return f"EXECUTE ON FUNCTION _bemi.{ours[1]}"
    return _RIGHTS.get(what)
