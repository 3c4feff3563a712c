"""What the statement trigger costs a statement, measured with pgbench."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from bemi_django.schema import sql
from bench import measure, servers
from bench.report import Findings, Table, Target
from bench.servers import connect, execute
from sample_project.postgres_server import Server

CONTEXT = (
    '{"user_id": 7, "method": "POST", "path": "/accounts/7/", '
    '"request_id": "8f14e45fceea167a5a36dedd4bea2543", '
    '"SQL": "UPDATE \\u0022account\\u0022 SET \\u0022n\\u0022 = n + 1 WHERE account.id = \\u0025s"}'
)
_TABLES = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TABLE plain (id int PRIMARY KEY, n int) WITH (fillfactor = 20);
INSERT INTO plain SELECT i, 0 FROM generate_series(1, 10000) i;
CREATE TABLE empty (LIKE plain INCLUDING ALL) WITH (fillfactor = 20);
INSERT INTO empty SELECT * FROM plain;
CREATE TRIGGER t BEFORE UPDATE ON empty FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TABLE ours (LIKE plain INCLUDING ALL) WITH (fillfactor = 20);
INSERT INTO ours SELECT * FROM plain;
CREATE TRIGGER t BEFORE UPDATE ON ours FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
CREATE TABLE bare (LIKE plain INCLUDING ALL) WITH (fillfactor = 20);
INSERT INTO bare SELECT * FROM plain;
CREATE TRIGGER t BEFORE UPDATE ON bare FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
VACUUM ANALYZE;
"""
_NAMES = {
    "plain": "no trigger",
    "empty": "an empty PL/pgSQL trigger",
    "ours": "ours, with a context",
    "bare": "ours, without a context",
}


# In one run. Runs are short, so that those compared see the same load of the machine.
_TRANSACTIONS = 6_000


class Bench:
    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._directory = directory
        for table in _NAMES:
            comment = "" if table == "bare" else f"/*Bemi {CONTEXT} Bemi*/ "
            script = f"\\set id random(1, 10000)\n{comment}UPDATE {table} SET n = n + 1 WHERE id = :id;\n"
            (directory / table).write_text(script)

    def microseconds(self, table: str, clients: int, mode: str) -> float:
        """Return the time of one statement in a transaction of its own: 1 / throughput."""
        server = self._server
        assert server.bin_dir is not None
        command = [
            str(server.bin_dir / "pgbench"),
            "-n",
            "-M",
            mode,
            "-c",
            str(clients),
            "-j",
            str(min(clients, 2)),
        ]
        command += ["-t", str(_TRANSACTIONS // clients), "-f", str(self._directory / table)]
        command += ["-h", server.host, "-p", str(server.port), "-U", server.user, server.dbname]
        environment = {**os.environ, "PGPASSWORD": server.password, "PGOPTIONS": "-c synchronous_commit=off"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found = re.search(r"tps = ([\d.]+)", done.stdout)
        assert found is not None, done.stdout
        return 1e6 / float(found[1])


def run(is_quick: bool, is_long: bool = False) -> Findings:
    findings = Findings("Trigger")
    title = "Microseconds a statement: an UPDATE of one row by its key, in a transaction of its own"
    table = Table(title, ["protocol", "clients", *_NAMES.values(), "the function", "function and trigger"])
    with servers.server() as server, tempfile.TemporaryDirectory() as directory:
        with closing(connect(server)) as connection:
            execute(connection, sql.up(*sql.SOURCE))
            for statement in _TABLES.strip().split(";\n"):
                execute(connection, statement)
            findings.tables.append(_loop(findings, connection, 5 if is_quick else 15))
        bench = Bench(server, Path(directory))
        for mode in ("simple", "prepared"):
            for clients in (1, 8):
                runs = {name: partial(bench.microseconds, name, clients, mode) for name in _NAMES}
                found = measure.rounds(3 if is_quick else 13, runs, warm=1)
                _add(findings, table, f"{mode}, {clients}", found)
    findings.tables.append(table)
    findings.unfair.append(
        "The targets are for the function alone: the cost of an empty trigger is subtracted."
    )
    return findings


_STATEMENTS = 5_000
# Forgetting the last message makes each statement send its own.
_LOOP = """DO $$BEGIN FOR i IN 1..{} LOOP
PERFORM set_config('_bemi.last', '', true); UPDATE {} SET n = n WHERE false;
END LOOP; END$$"""


def _loop(findings: Findings, connection: Any, count: int) -> Table:
    """Measure the function without protocol, transaction and rows."""

    def took(name: str) -> float:
        comment = "" if name == "bare" else f"/*Bemi {CONTEXT} Bemi*/ "
        began = time.perf_counter()
        execute(connection, comment + _LOOP.format(_STATEMENTS, name))
        return (time.perf_counter() - began) / _STATEMENTS * 1e6

    execute(connection, "SET synchronous_commit = off")
    found = measure.rounds(count, {name: partial(took, name) for name in _NAMES}, warm=1)
    table = Table(
        "Microseconds of the trigger alone, in a loop in the server", ["trigger", "median", "least"]
    )
    for name in list(_NAMES)[1:]:
        costs = [mine - plain for mine, plain in zip(found[name], found["plain"], strict=True)]
        least = min(found[name]) - min(found["plain"])
        table.add(_NAMES[name], measure.spread(costs).show(1), f"{least:.1f}")
        if name == "ours":
            median = measure.spread(costs)
            claim = "the trigger function costs a statement 10 µs at most (in a loop in the server)"
            findings.targets.append(Target(claim, f"{median.show(1)} µs", median.median <= 10))
    return table


def _add(findings: Findings, table: Table, what: str, found: dict[str, list[float]]) -> None:
    costs = measure.spread([ours - plain for ours, plain in zip(found["ours"], found["plain"], strict=True)])
    function = measure.spread(
        [ours - empty for ours, empty in zip(found["ours"], found["empty"], strict=True)]
    )
    cells = [measure.spread(found[name]).show(1) for name in _NAMES]
    table.add(*what.split(", "), *cells, function.show(1), costs.show(1))
    claim = f"the trigger function costs a statement 10 µs at most ({what} client{'s' * what.endswith('8')})"
    findings.targets.append(Target(claim, f"{function.show(1)} µs", function.median <= 10))
