"""Tell errors that only an administrator can fix from those that may pass, and say what to do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from bemi_django.exceptions import (
    BemiError,
    Disrupted,
    KeyStoreUnavailable,
    ParametersUnavailable,
    ProtocolError,
    Refused,
    SinkUnavailable,
    SlotInUse,
    Superseded,
    Unsendable,
    first_line,
    sqlstate_of,
)
from bemi_django.schema import installed, sql

# Classes of SQLSTATE that an administrator has to fix: rights, names, missing objects, features.
_LASTING = ("0A", "28", "3D", "42")
_PASSING = (
    Disrupted, KeyStoreUnavailable, ParametersUnavailable, SinkUnavailable, SlotInUse, Superseded, Unsendable,
)  # fmt: skip
_NO_RIGHT, _NOT_SUPPORTED, _NOT_LET_IN, _OF_POOLERS = "42501", "0A000", "28000", "08P01"
# Classes of SQLSTATE that say nothing about the message at hand: connections, rights, configuration, locks,
# resources, operators.
_NOT_OF_A_MESSAGE = ("08", "25", "28", "3D", "40", "42", "53", "55", "57", "58")
_UNKNOWN = ("42P01", "42703", "42883")

_OPTIONS = "correct OPTIONS in DATABASES"
# What to do about a server that refuses a connection.
_REFUSALS = {
    "28P01": "correct USER and PASSWORD in DATABASES",
    "28": "give {role} LOGIN (CREATE ROLE or ALTER ROLE) and a line of pg_hba.conf",
    "3D": "create the database, or correct NAME in DATABASES",
    "22": _OPTIONS,
    "42": _OPTIONS,
    "55P02": _OPTIONS,
}
_NO_CONNECT = "run as its owner: GRANT CONNECT ON DATABASE {database} TO {role}"
_NO_REPLICATION = "run as superuser: ALTER ROLE {role} REPLICATION (RDS: GRANT rds_replication TO {role})"
# One SQLSTATE has several reasons: they are told apart where the server speaks English.
_WORDS_OF_REFUSALS = {
    r"pg_hba\.conf": "let {role} in with a line of pg_hba.conf, then reload the server's configuration",
    "not permitted to log in": "run as superuser: ALTER ROLE {role} LOGIN",
    'role ".*" does not exist': "create the role, or correct USER in DATABASES",
}
# Services that the server asks who somebody is, and which may be away. Their names are the same in every
# language.
_SERVICES = re.compile(r"(?a:\b(?:LDAP|RADIUS|PAM|BSD|GSSAPI|SSPI|OAuth)\b)")
# The words of libpq, which are English in every locale, because Python leaves that of messages alone; and
# those of poolers, which have one SQLSTATE for all that they refuse.
_WORDS_OF_OTHERS = {
    "password authentication failed|no password supplied": "correct USER and PASSWORD in DATABASES",
    **_WORDS_OF_REFUSALS,
    'database ".*" does not exist|no such database': "create the database, or correct NAME in DATABASES",
    "invalid connection option|does not exist": _OPTIONS,
}
_CERTIFICATE = "renew the certificate, or correct sslrootcert, sslcert and sslkey in OPTIONS of DATABASES"
# What to do about errors of a server that pass as soon as somebody does it, by SQLSTATE or its class.
_REMEDIES = {
    "25006": "turn off default_transaction_read_only of the role or the database, if its server has room",
    "53100": "free space on the disk of the server",
    "53200": "the server has no memory left: lower work_mem or max_connections, or give it more",
    "53300": (
        "end connections that nobody needs, or raise max_connections (for the stream max_wal_senders, and "
        "CONNECTION LIMIT where the role or the database has one)"
    ),
    "55000": "see the server's log, and whether the database accepts connections (ALLOW_CONNECTIONS)",
    "57P": "see whether the server is running, and what its log says",
    "58": "see the server's log: it cannot read or write its files",
    "XX00": "see the server's log: if it names damaged data, check its storage and its indexes (amcheck)",
}
_FUNCTION = re.compile(r"\w+_v\d+")
# The rights that the worker needs on our objects.
_RIGHTS = {
    "checkpoint": "SELECT, INSERT, UPDATE ON _bemi.checkpoint",
    "dead_letters": "INSERT ON _bemi.dead_letters",
    "activity_entries": "INSERT ON _bemi.activity_entries",
    "lanes": "SELECT, INSERT, UPDATE, DELETE ON _bemi.lanes",
    "histories": "SELECT, INSERT ON _bemi.histories",
    "relations": "SELECT ON _bemi.relations",
    "baselines": "SELECT ON _bemi.baselines",
    "baseline_rows": "SELECT ON _bemi.baseline_rows",
    "accepted": "SELECT, INSERT ON _bemi.accepted",
    "chains": "SELECT ON _bemi.chains",
    "subject_keys": "SELECT, INSERT ON _bemi.subject_keys",
    "incomplete": "SELECT ON _bemi.incomplete",
    "lost_months": "SELECT ON _bemi.lost_months",
    "verifications": "SELECT, INSERT, UPDATE, DELETE ON _bemi.verifications",
    "verified": "SELECT, INSERT, UPDATE, DELETE ON _bemi.verified",
    "omitted_columns": "SELECT, INSERT, UPDATE ON _bemi.omitted_columns",
    "omitted_changes": "SELECT, INSERT, UPDATE ON _bemi.omitted_changes",
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
        error: What ``refusal.with_state()`` has made of the driver's error.
        parameters: The parameters of libpq that were used.
    """
    state, said = sqlstate_of(error), first_line(error)
    role, database = parameters.get("user") or "the_role", parameters.get("dbname") or "the_database"
    advice = _of_state(_REFUSALS, state)
    if state in ("", _OF_POOLERS):
        said, advice = _by_words(error, _WORDS_OF_OTHERS) or (said, "")
    elif state == _NOT_LET_IN:
        is_service = _SERVICES.search(said)
        said, advice = _by_words(error, _WORDS_OF_REFUSALS) or (said, "" if is_service else advice)
    elif state == _NO_RIGHT and f'"{database}"' in said:
        advice = _NO_CONNECT
    elif state == _NO_RIGHT and "replication" in parameters:
        advice = _NO_REPLICATION
    if not advice:
        return None
    return Refused(f"{said}: {advice.format(role=quoted(role), database=quoted(database))}")


def _by_words(error: Exception, words: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the line of a message that is about something known, and the advice for it."""
    for pattern, advice in words.items():
        # There is a line for each address of the host; the refusal need not be in the first.
        for line in str(error).splitlines():
            if re.search(pattern, line, re.IGNORECASE):
                return " ".join(line.split()), advice
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
    # The place in the server's code, because its words may be in any language.
    if error.pgcode == _NOT_SUPPORTED and error.diag.source_function == "DoCopy":
        log: str = getattr(error.cursor and error.cursor.connection, "log", "") or "changes"
        return Refused(f"{reason}: run as the owner: ALTER TABLE {log} DISABLE ROW LEVEL SECURITY")
    return Refused(reason)


def told(error: BaseException) -> str:
    """Return what an error says, in a line, and what to do about it if it passes when somebody does that."""
    line = first_line(error)
    if isinstance(error, BemiError):
        return line
    state = sqlstate_of(error)
    remedy = _of_state(_REMEDIES, state)
    # That of a connection: libpq has no SQLSTATE.
    if not state and "certificate" in str(error):
        remedy = _CERTIFICATE
    return f"{line}: {remedy}" if remedy else line


def _of_state(advice: Mapping[str, str], state: str) -> str:
    """Return the advice for a SQLSTATE, or for the longest beginning of it that has one."""
    return next((advice[state[:size]] for size in range(5, 1, -1) if state[:size] in advice), "")


def names_in(text: str, names: Iterable[str]) -> list[str]:
    """Return which names a message has, the longest first: names are the same in every language."""
    edge = "[A-Za-z0-9_]"
    found = (name for name in names if re.search(f"(?<!{edge}){re.escape(name)}(?!{edge})", text))
    return sorted(found, key=len, reverse=True)


def quoted(identifier: str) -> str:
    """Return the identifier for a statement that a person runs, with quotes only where it needs them."""
    if re.fullmatch("[a-z_][a-z0-9_]*", identifier):
        return identifier
    return sql.quote(identifier)


def _grant(error: psycopg2.Error, reason: str) -> str:
    right = _right(error, reason)
    if right is None or error.cursor is None:
        return "grant it to the worker's role"
    connection = error.cursor.connection
    # libpq forgets them when the connection is closed.
    given = parse_dsn(connection.dsn)
    database = connection.info.dbname or given.get("dbname", "the_database")
    role = connection.info.user or given.get("user", "the_role")
    return f"run as the owner in {quoted(database)}: GRANT {right} TO {quoted(role)}"


def _right(error: psycopg2.Error, reason: str) -> str | None:
    """Return the right that a message is about: it names one object."""
    # A connection to the log knows its name, which may be like that of a function.
    if log := getattr(error.cursor and error.cursor.connection, "log", ""):
        name = installed.parts(log)
        if names_in(reason, [name.name]):
            return f"INSERT ON {quoted(name.name) if name.schema == 'public' else log}"
        if name.schema and names_in(reason, [name.schema]):
            return f"USAGE ON SCHEMA {quoted(name.schema)}"
    if names_in(reason, ["_bemi"]):
        return "USAGE ON SCHEMA _bemi"
    # Tables of the project may have a version in their names, too.
    if ours := names_in(reason, filter(_FUNCTION.fullmatch, sql.names())):
        return f"EXECUTE ON FUNCTION _bemi.{ours[0]}"
    return next((_RIGHTS[name] for name in names_in(reason, _RIGHTS)), None)
