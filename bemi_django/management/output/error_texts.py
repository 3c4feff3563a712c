"""What a command says of an error that has ended it: one line, with what to do."""

from __future__ import annotations

from django.db import DatabaseError

from bemi_django import conf
from bemi_django.exceptions import BemiError, IsStandby, Refused, first_line, sqlstate_of
from bemi_django.ingest.error_advice import names_in, told
from bemi_django.schema import installed, sql
from bemi_django.schema.django_commands import lost_objects
from bemi_django.schema.names.unreadable_names import remedy
from bemi_django.status.refused_databases import explained
from bemi_django.status.time_limits import has_statement_limit

# What a standby says: that it takes no writes, and that it writes no WAL.
_READ_ONLY = ("25006", "55000")
_NO_RIGHT = "42501"
_NO_TEXT, _LOCKED, _CANCELED = "22021", "55P03", "57014"
# A table, a column or a function that the database does not have.
_UNKNOWN = ("42P01", "42703", "42883")


def told_of_command(error: Exception, database: str, subcommand: str) -> str:
    """Return what an error says, and what to do about it where the server does not say that.

    Args:
        error: What has ended the command.
        database: Alias of the source.
        subcommand: The name of the command.
    """
    try:
        return _told(error, database, subcommand)
    except (DatabaseError, BemiError, UnicodeDecodeError):
        # A database that cannot be asked must not hide what has happened.
        return told(error)


def _told(error: Exception, database: str, subcommand: str) -> str:
    state = sqlstate_of(error)
    # A primary that is read-only has an administrator who made it so, and says so.
    is_standby = state in _READ_ONLY and installed.is_standby(database)
    line = first_line(IsStandby() if is_standby else error)
    if state == _NO_RIGHT and not isinstance(error, Refused) and names_in(line, _ours()):
        return f"{line}: use its owner's role, or one that has what 'manage.py bemi grants' prints"
    if state == _NO_TEXT:
        return f"{line}: {remedy(database) or 'give names and arguments in UTF-8'}"
    if state == _LOCKED:
        return f"{line}: another session holds the lock (see pg_locks): try again when it has ended"
    aliases = dict.fromkeys((database, conf.destination()))
    if state == _CANCELED and any(map(has_statement_limit, aliases)):
        return f"{line}: run it with PGOPTIONS='-c statement_timeout=0', or as a role without that limit"
    if subcommand == "as-of" or isinstance(error, BemiError):
        return line
    if state in _UNKNOWN and lost_objects.are_lost(database):
        return f"{line}: run {lost_objects.remedy(database)}"
    if state in _UNKNOWN:
        return f"{line}: if another version has installed the log, run 'manage.py migrate bemi_django'"
    return line if is_standby else explained(error, aliases)


def _ours() -> set[str]:
    """Return the names of what the owner of the log may give rights to."""
    return {*sql.names(), "_bemi", conf.table().name}
