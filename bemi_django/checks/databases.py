"""Checks of the servers and their tables, which need a connection."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.checks import CheckMessage, Warning
from django.db import connections
from django.db.backends.base.creation import TEST_DATABASE_PREFIX

from bemi_django import conf, destinations, handlers
from bemi_django.checks.log_table import check_log_table
from bemi_django.checks.selection import check_names
from bemi_django.checks.types import check_types
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import computation, coverage, tracking
from bemi_django.schema.database_names import database_option
from bemi_django.schema.django_commands import lost_objects
from bemi_django.schema.replication import publication
from bemi_django.status.worker_status import NOT_RUNNING, ON_STANDBY, RUNNING, read_worker

#: The id of the check of the worker.
WORKER = "bemi.W011"
_LEFT_OUT = "no longer published"
_LACKS = {
    "triggers": ("bemi.W002", "have missing or outdated triggers"),
    "replica identity full": ("bemi.W003", "do not have REPLICA IDENTITY FULL"),
    "published": ("bemi.W004", "are not in the publication"),
    "published as a whole": ("bemi.W004", "are in the publication with some of their rows or columns only"),
    _LEFT_OUT: ("bemi.W021", "are recorded though the settings leave them out"),
}


def check_databases(databases: Sequence[str]) -> list[CheckMessage]:
    """Check the servers and tables of databases.

    Args:
        databases: Their aliases.

    Returns:
        The warnings found.

    Raises:
        DatabaseError: A database cannot be reached, or the role may not read what is checked.
    """
    if check_types():
        # The check of the settings says so.
        return []
    found: list[CheckMessage] = []
    for alias in databases:
        # Tests that switch capture off expect no table to be tracked.
        if conf.is_source(alias) and (conf.captures() or not _is_of_test_runner(alias)):
            found += _check_server(alias) + _check_tables(alias) + _check_handlers(alias)
            found += _check_computation(alias) + _check_coverage(alias)
            if destinations.is_log(destinations.first()) and not _is_of_test_runner(alias):
                found += check_worker(alias)
        if destinations.is_log(alias):
            found += check_log_table(alias)
        if conf.is_source(alias) or destinations.is_log(alias):
            found += _check_migrations(alias)
    return found + check_names([alias for alias in databases if conf.is_source(alias)])


def _check_migrations(alias: str) -> list[CheckMessage]:
    if not lost_objects.are_lost(alias):
        return []
    message = f"{alias!r} lacks what the applied migrations of bemi_django have made: nothing is recorded."
    return [Warning(message, hint=f"Run {lost_objects.remedy(alias)}.", id="bemi.W023")]


def _check_server(alias: str) -> list[CheckMessage]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW wal_level")
        (level,) = cursor.fetchone()
    if level == "logical":
        return []
    hint = "Run ALTER SYSTEM SET wal_level = logical, then restart the server."
    message = f"Changes of {alias!r} cannot be recorded: its wal_level is {level}, not logical."
    return [Warning(message, hint=hint, id="bemi.W005")]


def _check_tables(alias: str) -> list[CheckMessage]:
    try:
        steps = tracking.plan(alias)
    except NotInstalled:
        return []
    found: list[CheckMessage] = []
    for what, (identifier, lack) in _LACKS.items():
        names = [step.name for step in steps if step.what == what]
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            message = f"{len(names)} tracked tables of {alias!r} {lack}: {shown}."
            hint = f"Run manage.py bemi sync{database_option(alias)}."
            if what == _LEFT_OUT:
                hint = f"Name them in BEMI_INCLUDE, or to record them no longer: {hint[:1].lower()}{hint[1:]}"
            found.append(Warning(message, hint=hint, id=identifier))
    if publication.read_lacks(alias).changes:
        message = f"The publication {conf.publication()} of {alias!r} leaves out changes of tracked tables."
        hint = f"Run manage.py bemi sync{database_option(alias)}."
        found.append(Warning(message, hint=hint, id="bemi.W004"))
    return found + _check_obstacles(alias, [step for step in steps if not step.statement])


def _check_coverage(alias: str) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    try:
        unmatched = coverage.unmatched_patterns(alias)
        tables = coverage.read_coverage(alias)
        is_followed = coverage.has_event_triggers(alias)
    except NotInstalled:
        return []
    if unmatched:
        message = f"No table of {alias!r} matches {', '.join(unmatched)}: nothing is recorded for it."
        hint = (
            "Correct BEMI_INCLUDE, unless migrate has to make the tables: patterns are schema.table. By "
            "default, it is the search_path's schemas."
        )
        found.append(Warning(message, hint=hint, id="bemi.W013"))
    elif not any(table.is_tracked or table.needs_sync or table.obstacle for table in tables):
        message = f"All tables of {alias!r} are left out: nothing is recorded."
        hint = "Correct BEMI_EXCLUDE and BEMI_INCLUDE, unless migrate has to make the tables."
        found.append(Warning(message, hint=hint, id="bemi.W013"))
    if orphans := coverage.outside_patterns(tables):
        shown = ", ".join(f"{table.name} ({table.parent})" for table in orphans[:3])
        shown += ", ..." if len(orphans) > 3 else ""
        message = (
            f"{len(orphans)} tables of {alias!r} inherit from tracked tables and are not tracked: {shown}. "
            "Changes of their rows are not recorded."
        )
        hint = "Add them to BEMI_INCLUDE or remove them from BEMI_EXCLUDE, then run manage.py bemi sync."
        found.append(Warning(message, hint=hint, id="bemi.W014"))
    if not is_followed:
        message = (
            f"New tables of {alias!r} are not tracked until migrate or bemi sync runs: no event triggers."
        )
        hint = f"Run manage.py bemi sync{database_option(alias)} as a role that may create event triggers."
        found.append(Warning(message, hint=hint, id="bemi.W015"))
    return found


def _check_computation(alias: str) -> list[CheckMessage]:
    try:
        lacks = "is not set up" if computation.is_missing(alias) else ""
        if not lacks and (rights := computation.missing_rights(alias)):
            lacks = f"lacks rights: {', '.join(rights)}"
    except NotInstalled:
        return []
    if not lacks:
        return []
    message = (
        f"Generated columns and casts to json of {alias!r} may be recorded as unavailable: the role "
        f"{computation.ROLE}, which computes them, {lacks}."
    )
    hint = f"Run what manage.py bemi grants{database_option(alias)} prints, as a superuser."
    return [Warning(message, hint=hint, id="bemi.W010")]


def check_worker(alias: str) -> list[CheckMessage]:
    """Check that the worker of a database is running.

    Args:
        alias: Alias of the source.
    """
    if not publication.exists(alias):
        return []
    worker = read_worker(alias)
    if worker.state == RUNNING and worker.wal_status != "lost":
        return []
    hint = f"Run manage.py bemi run{database_option(alias)} beside the site."
    accepting = f"Run manage.py bemi run{database_option(alias)} --accept-gap to record the gap."
    if worker.wal_status == "lost":
        message = f"No change of {alias!r} is recorded any more: its server removed WAL that was not read."
        hint = accepting
    elif worker.state == NOT_RUNNING:
        message = f"The worker of {alias!r} is not running, and the server keeps all WAL until it does."
    elif worker.state == ON_STANDBY:
        message = f"The server of {alias!r} is a standby: its changes are recorded from its primary."
        hint = "Check the primary instead."
    elif worker.has_begun:
        message = f"No change of {alias!r} is recorded any more: the replication slot {worker.slot} is gone."
        hint = accepting
    else:
        message = f"No change of {alias!r} is recorded yet: recording begins when its worker first runs."
    return [Warning(message, hint=hint, id=WORKER)]


def is_recording_to_begin(alias: str) -> bool:
    """Return whether the changes of a database will be recorded, and nothing is recorded yet."""
    if _is_of_test_runner(alias) or not destinations.is_log(destinations.first()):
        return False
    return publication.exists(alias) and not read_worker(alias).has_begun


def _is_of_test_runner(alias: str) -> bool:
    """Return whether the database has a name of Django's test runner: there, nobody expects a worker."""
    settings = connections[alias].settings_dict
    name = str(settings["NAME"])
    return name.startswith(TEST_DATABASE_PREFIX) or name == settings["TEST"]["NAME"]


def _check_handlers(alias: str) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not publication.exists(alias):
        return found
    for handler in handlers.of_database(alias):
        if handler.model is None:
            continue
        if not publication.has_table(handler.model._meta.db_table, alias):
            message = f"The handler {handler.name} receives no changes: {alias!r} does not track its table."
            hint = (
                "Add the table to BEMI_INCLUDE or remove it from BEMI_EXCLUDE, then run manage.py bemi sync."
            )
            found.append(Warning(message, hint=hint, id="bemi.W008"))
    return found


def _check_obstacles(alias: str, obstacles: list[tracking.TrackingStep]) -> list[CheckMessage]:
    if not obstacles:
        return []
    named = ", ".join(f"{step.name} ({step.what})" for step in obstacles)
    message = f"Changes of {len(obstacles)} tables of {alias!r} are not recorded: {named}."
    hint = (
        "Unlogged and temporary tables write no WAL: run ALTER TABLE ... SET LOGGED. Tables with virtual "
        "columns need a primary key. Or add the tables to BEMI_EXCLUDE."
    )
    return [Warning(message, hint=hint, id="bemi.W006")]
