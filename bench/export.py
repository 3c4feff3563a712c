"""What the audit view's export costs a change: in the format's plainest form, and with masks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing

from bench import measure
from bench.filling import fill
from bench.report import Findings, Table, Target
from bench.servers import connect, create_database, execute, parameters, server

#: Changes a second of processor time of the process that exports.
LIMIT = 50_000
_PLACE = "UPDATE changes SET database = current_database(), \"table\" = 'shop_item'"


def run(is_quick: bool, is_long: bool = False) -> Findings:
    size = 20_000 if is_quick else 100_000
    findings = Findings("Exports of the audit view")
    with server() as started:
        create_database(started, "export")
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "bench.export_settings",
            "BENCH_VARIANT": "ours",
            "BENCH_DATABASE": json.dumps(parameters(started, "export")),
        }

        def at(step: str) -> str:
            command = [sys.executable, "-m", "bench.export_at", step]
            return subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout

        at("migrate")
        with closing(connect(started, "export")) as connection:
            fill(connection, 1, size)
            execute(connection, _PLACE)
            execute(connection, "VACUUM FULL ANALYZE changes")
        found: dict[str, list[float]] = json.loads(at("measure"))
    table = Table(f"Changes a second of processor time, {size:,} changes", ["format and masks", "changes"])
    for name, rates in found.items():
        spread = measure.spread(rates)
        table.add(name, spread.show(0))
        claim = f"{name}: {LIMIT:,} changes a second of processor time"
        findings.targets.append(Target(claim, f"{spread.median:,.0f}", spread.median >= LIMIT))
    findings.tables.append(table)
    findings.unfair.append(
        "The server's time is not in it, nor is what takes the file: a proxy, the network, a disk."
    )
    return findings
