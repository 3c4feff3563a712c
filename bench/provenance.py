"""What saying who is connected costs a transaction, in processor time of the server's process."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from bemi_django.schema import sql
from bench import measure
from bench.report import Findings, Table, Target
from bench.servers import connect, execute, one, processor_time, server
from bench.trigger import CONTEXT

_TRANSACTIONS = 60
# What the first message of a transaction begins with.
_SAID = re.compile(
    r"pg_catalog\.format\('%L %L%s %s %L%s',.*?current_setting\('application_name'\), ", re.DOTALL
)
_TABLES = """
CREATE TABLE said (id int PRIMARY KEY, n int);
CREATE TABLE unsaid (id int PRIMARY KEY, n int);
INSERT INTO said VALUES (1, 0);
INSERT INTO unsaid VALUES (1, 0);
CREATE TRIGGER t BEFORE UPDATE ON said FOR EACH STATEMENT EXECUTE FUNCTION _bemi.capture_v1();
CREATE TRIGGER t BEFORE UPDATE ON unsaid FOR EACH STATEMENT EXECUTE FUNCTION _bemi.silent();
"""
_UPDATE = "UPDATE {} SET n = n + 1 WHERE id = 1"


def silent(text: str) -> str:
    """Return the capture function under another name, without what it says of the connection."""
    function = text.replace("FUNCTION _bemi.capture_v1()", "FUNCTION _bemi.silent()", 1)
    last = function.rindex("    is_done := ")
    end, found = _SAID.subn("", function[last:])
    if found != 1:
        raise AssertionError("the trigger says it in another way")
    return function[:last] + end.replace("'%'))) IS NULL", "'%')) IS NULL")


def run(is_quick: bool, is_long: bool = False) -> Findings:
    with server() as started, closing(connect(started)) as connection:
        execute(connection, sql.up("schema_v1", "capture_v1"))
        execute(connection, silent(sql.read("capture_v1_up")))
        execute(connection, _TABLES)
        execute(connection, "SET synchronous_commit = off; SET application_name = 'gunicorn'")
        clock = partial(processor_time, one(connection, "SELECT pg_backend_pid()"))
        runs = {name: _transactions(connection, name, clock) for name in ("said", "unsaid")}
        found = measure.rounds(40 if is_quick else 800, runs, warm=10)
        size = _bytes(connection)
    return _report(found, size)


def _transactions(connection: Any, table: str, clock: Callable[[], float]) -> Callable[[], float]:
    statement = f"/*Bemi {CONTEXT} Bemi*/ {_UPDATE.format(table)}"

    def took() -> float:
        began = clock()
        with connection.cursor() as cursor:
            for _ in range(_TRANSACTIONS):
                cursor.execute(statement)
        return (clock() - began) / _TRANSACTIONS * 1000

    return took


def _bytes(connection: Any) -> int:
    """Return how many bytes of WAL a transaction takes more."""
    sizes = []
    for table in ("said", "unsaid"):
        statement = f"/*Bemi {CONTEXT} Bemi*/ {_UPDATE.format(table)}"
        took = []
        for _ in range(20):
            before = one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")
            execute(connection, statement)
            took.append(int(one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'") - before))
        sizes.append(min(took))
    return sizes[0] - sizes[1]


def _report(found: dict[str, list[float]], size: int) -> Findings:
    findings = Findings("Provenance")
    table = Table(
        "Microseconds of processor time a transaction: an UPDATE of one row, from a client by TCP",
        ["share of the chunks below", "without", "with what is said of the connection", "more"],
    )
    costs = {}
    for share in (0.05, 0.1, 0.25, 0.5):
        said, unsaid = (measure.percentile(found[name], share) for name in ("said", "unsaid"))
        costs[share] = said - unsaid
        table.add(f"{share:.0%}", f"{unsaid:.1f}", f"{said:.1f}", f"{said - unsaid:.2f}")
    findings.tables.append(table)
    in_turns = measure.spread(
        [said - unsaid for said, unsaid in zip(found["said"], found["unsaid"], strict=True)]
    )
    least, most = (costs[0.05], costs[0.5]) if costs[0.05] < costs[0.5] else (costs[0.5], costs[0.05])
    claim = "who is connected: at most 2 µs a transaction"
    text = f"{least:.1f} to {most:.1f} µs, {in_turns.median:.1f} by the median of turns"
    findings.targets.append(Target(claim, text, max(most, in_turns.median) <= 2))
    findings.targets.append(
        Target("who is connected: at most 60 bytes of WAL a transaction", f"{size}", size <= 60)
    )
    findings.unfair.append("Without it, the function is the same but for these values.")
    return findings
