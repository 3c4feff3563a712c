"""What DDL, ``sync``, ``check`` and the first ``migrate`` cost, by the number of tables in the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing

from bench.report import Findings, Table, Target
from bench.servers import connect, create_database, execute, parameters, server
from sample_project.postgres_server import Server

TABLE = """
CREATE TABLE t{number} (
    id bigserial PRIMARY KEY, name varchar(100) NOT NULL, amount numeric(10, 2), made timestamptz,
    is_done boolean, data jsonb, other_id integer)
"""
#: Milliseconds at a number of tables.
LIMITS = {
    ("first migrate", 2_000): 30_000,
    ("sync with nothing to do", 2_000): 1_000,
    ("check --database", 2_000): 1_000,
    ("post_migrate with nothing to do", 200): 20,
}


def run(is_quick: bool, is_long: bool = False) -> Findings:
    sizes = [10, 100, 200] if is_quick else [10, 100, 200, 1_000, 2_000, 5_000]
    findings = Findings("Many tables")
    found: dict[int, dict[str, float]] = {}
    with server() as started:
        for size in sizes:
            found[size] = _at(started, size)
    table = Table("Milliseconds at a number of tables", ["what", *(f"{size:,}" for size in sizes)])
    for name in found[sizes[0]]:
        numbers = [found[size][name] for size in sizes]
        table.add(name, *(f"{number:,.1f}" for number in numbers))
        findings.points.setdefault("milliseconds by tables", {})[name] = numbers
        if name.startswith("event triggers"):
            claim = f"{name}: 10 ms at most, at any number of tables"
            findings.targets.append(Target(claim, f"{max(numbers):.1f} ms", max(numbers) <= 10))
    for (name, size), limit in LIMITS.items():
        number = found.get(size, {}).get(name)
        shown, is_met = ("-", None) if number is None else (f"{number:,.0f} ms", number <= limit)
        findings.targets.append(Target(f"{name}, {size:,} tables: {limit:,} ms at most", shown, is_met))
    findings.points["tables"] = {"tables": [float(size) for size in sizes]}
    findings.tables.append(table)
    return findings


def _at(started: Server, size: int) -> dict[str, float]:
    database = f"tables_{size}"
    create_database(started, database)
    with closing(connect(started, database)) as connection:
        for number in range(size):
            execute(connection, TABLE.format(number=number))
        execute(connection, "VACUUM ANALYZE")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "bench.settings",
        "BENCH_VARIANT": "ours",
        "BENCH_DATABASE": json.dumps(parameters(started, database)),
    }
    command = [sys.executable, "-m", "bench.tables_at"]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    with closing(connect(started)) as connection:
        execute(connection, f"DROP DATABASE {database}")
    return {name: float(number) for name, number in json.loads(output).items()}
