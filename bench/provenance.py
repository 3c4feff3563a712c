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

# In one chunk. Chunks are short, so that those compared see the same load of the machine.
_TRANSACTIONS = 60
_MOST = 2.0
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
_LOOP = f"DO $$BEGIN FOR i IN 1..{_TRANSACTIONS} LOOP {_UPDATE}; COMMIT; END LOOP; END$$"
#: How the transactions come: to a process that is awake, or that slept until the client had read its answer.
_BUSY, _ASKED = (
    "one after the other, in a loop in the server",
    "from a client by TCP that waits for each answer",
)


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
        runs = {
            f"{table}, {way}": _transactions(connection, way, table, clock)
            for way in (_BUSY, _ASKED)
            for table in ("said", "unsaid")
        }
        found = measure.rounds(200 if is_quick else 1_000, runs, warm=20)
        size = _bytes(connection)
    return _report(found, size)


def _transactions(connection: Any, way: str, table: str, clock: Callable[[], float]) -> Callable[[], float]:
    statement = f"/*Bemi {CONTEXT} Bemi*/ {(_LOOP if way == _BUSY else _UPDATE).format(table)}"
    count = 1 if way == _BUSY else _TRANSACTIONS

    def took() -> float:
        began = clock()
        with connection.cursor() as cursor:
            for _ in range(count):
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
    for way in (_BUSY, _ASKED):
        said, unsaid = found[f"said, {way}"], found[f"unsaid, {way}"]
        table = Table(
            f"Microseconds of processor time a transaction, an UPDATE of one row: {way}",
            ["share of the chunks below", "without", "with what is said of the connection", "more"],
        )
        for share in (0.05, 0.1, 0.25, 0.5):
            more, less = measure.percentile(said, share), measure.percentile(unsaid, share)
            table.add(f"{share:.0%}", f"{less:.1f}", f"{more:.1f}", f"{more - less:.2f}")
        findings.tables.append(table)
        fastest = measure.percentile(said, 0.05) - measure.percentile(unsaid, 0.05)
        turns = measure.spread([more - less for more, less in zip(said, unsaid, strict=True)])
        findings.targets.append(
            Target(
                f"who is connected: at most {_MOST:.0f} µs a transaction, {way}",
                f"{fastest:.1f} µs by the 5th percentiles, {turns.median:.1f} by the median of turns",
                max(fastest, turns.median) <= _MOST,
            )
        )
    findings.targets.append(
        Target("who is connected: at most 60 bytes of WAL a transaction", f"{size}", size <= 60)
    )
    findings.unfair.append("Without it, the function is the same but for these values.")
    return findings
