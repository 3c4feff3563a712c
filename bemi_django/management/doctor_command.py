"""``bemi doctor``: what could keep changes from being recorded, and what recording costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bemi_django.doctor.examination import Examination, examine
from bemi_django.ingest.config import WorkerConfig
from bemi_django.schema.coverage import summary
from bemi_django.status.time_limits import time_limits
from bemi_django.status.units import as_bytes

#: How many tables are listed with their costs.
_MOST = 10


def doctor(command: BaseCommand, database: str, config: WorkerConfig, options: dict[str, Any]) -> None:
    """Print what was found.

    Args:
        command: The command, for its output.
        database: Alias of the source.
        config: The configuration of its worker.
        options: ``json`` of the command line.

    Raises:
        CommandError: Something keeps changes from being recorded; the exit status is 1.
    """
    with time_limits(database, "5min"):
        found = examine(database, config)
    if options["json"]:
        command.stdout.write(json.dumps(as_json(found), indent=2))
    else:
        for line in _lines(found):
            command.stdout.write(line)
    if stopping := [finding for finding in found.findings if finding.stops]:
        raise CommandError(f"findings that stop recording: {', '.join(finding.id for finding in stopping)}")


def as_json(found: Examination) -> dict[str, Any]:
    """Return an examination as values of JSON."""
    return {
        "database": found.source,
        "findings": [finding._asdict() for finding in found.findings],
        "tables": {
            "tracked": found.tracked(),
            "untracked": {
                table.name: table.reason for table in found.tables if table.name not in set(found.tracked())
            },
        },
        "cost_a_day": [cost._asdict() for cost in found.costs],
    }


def _lines(found: Examination) -> Iterator[str]:
    for finding in found.findings:
        yield f"{'stops recording' if finding.stops else 'warning'}: ({finding.id}) {finding.message}"
        yield f"    {finding.remedy}"
    if not found.findings:
        yield "no findings"
    if found.tables:
        yield summary(found.tables, is_plan=True)
    writes, wal, log = (
        sum(getattr(cost, name) for cost in found.costs) for name in ("writes", "wal_bytes", "log_bytes")
    )
    yield f"about {writes:,} writes a day: up to {as_bytes(wal)} more WAL, {as_bytes(log)} of log"
    for cost in found.costs[:_MOST]:
        if cost.writes:
            yield (
                f"    {cost.name}: {cost.writes:,} writes, {as_bytes(cost.wal_bytes)} of WAL, "
                f"{as_bytes(cost.log_bytes)} of log"
            )
