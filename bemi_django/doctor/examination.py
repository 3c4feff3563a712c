"""Examine a database: all findings, which tables are tracked or will be, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from django.db import DatabaseError, connections

from bemi_django import conf
from bemi_django.checks import check_databases, check_settings
from bemi_django.doctor import (
    append_only_log,
    connection,
    known_tables,
    lost_messages,
    queue,
    rights,
    server,
    standbys,
    tables,
    versions,
)
from bemi_django.doctor.cost import TableCost, estimate
from bemi_django.doctor.finding import Finding, of_check
from bemi_django.doctor.trial import creatable_event_triggers, installed_for_now
from bemi_django.exceptions import first_line
from bemi_django.ingest.config import WorkerConfig
from bemi_django.schema import installed
from bemi_django.schema.coverage import TableCoverage, read_coverage

# What the installation does first.
_DUE_ANYWAY = frozenset(("bemi.W002", "bemi.W003", "bemi.W004", "bemi.W015"))


class Examination(NamedTuple):
    """What is known of a source, before and after the installation.

    Attributes:
        source: Its alias.
        findings: Everything that should be done, what stops recording first.
        tables: Its tables, and whether each is tracked or, before the installation, will be.
        costs: What recording costs, by table.
    """

    source: str
    findings: list[Finding]
    tables: list[TableCoverage]
    costs: list[TableCost]

    def tracked(self) -> list[str]:
        """Return the names of the tables that are tracked or will be."""
        return [table.name for table in self.tables if _is_to_be_tracked(table)]


def examine(source: str, config: WorkerConfig) -> Examination:
    """Return everything that can be found out about a source without writing to it.

    Args:
        source: Alias of the source.
        config: The configuration of its worker.
    """
    if installed.is_standby(source):
        return Examination(source, [server.is_standby(source)], [], [])
    found = [of_check(message) for message in check_settings() if not message.is_silenced()]
    found += [
        *versions.findings(source),
        *server.findings(source),
        *standbys.findings(source),
        *connection.findings(source, config),
    ]
    found += queue.findings()
    coverage: list[TableCoverage] = []
    costs: list[TableCost] = []
    with ExitStack() as stack:
        try:
            is_installed = stack.enter_context(installed_for_now(source))
        except DatabaseError as error:
            message = f"This role cannot install the package in {source!r}: {first_line(error)}"
            found.append(Finding("bemi.D009", message, "Run this as the owner of the database.", stops=True))
        else:
            coverage = read_coverage(source)
            names = [table.name for table in coverage if _is_to_be_tracked(table)]
            found += _of_installation(source, is_installed)
            if is_installed:
                found += lost_messages.findings(source, config.slot)
            found += [*tables.findings(source, names), *known_tables.findings(source, names)]
            costs = estimate(source, names)
    found.sort(key=lambda finding: not finding.stops)
    return Examination(source, found, coverage, costs)


def _of_installation(source: str, is_installed: bool) -> Iterator[Finding]:
    aliases = list(dict.fromkeys([source, conf.destination()] if is_installed else [source]))
    for message in check_databases(aliases):
        if not message.is_silenced() and (is_installed or message.id not in _DUE_ANYWAY):
            yield of_check(message)
    if is_installed:
        yield from rights.findings(source)
        yield from append_only_log.findings()
        return
    if creatable_event_triggers(source) < 2:
        yield Finding(
            "bemi.W015",
            "The role may not create event triggers: rows of a new table are lost until migrate or bemi sync "
            "runs.",
            "Run bemi sync once as a superuser, or as the role that your provider gives this right.",
        )
    yield Finding(
        "bemi.D009",
        f"The package is not installed in {source!r} ({connections[source].settings_dict['NAME']}) yet.",
        "Run manage.py migrate bemi_django, then manage.py bemi run.",
    )


def _is_to_be_tracked(table: TableCoverage) -> bool:
    return table.is_tracked or table.needs_sync
