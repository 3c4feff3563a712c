"""How fast the WAL becomes rows of ``changes``, compared with PostgreSQL's own tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bemi_django.ingest.rows import row_writer
from bemi_django.schema import sql
from bench import debezium, measure, servers
from bench.report import Findings, Table, Target
from bench.servers import connect, execute, one, parameters
from bench.stream import TABLE, Stream
from sample_project.postgres_server import Server

OURS = "ours, into changes"
SEALED = "ours, sealed"
MASKED = "ours, with hashes of a column"
DROPPED = "ours, without a column"
RULED = "ours, with rules about other tables"
DEBEZIUM = "Debezium's engine alone"
COLUMNS = ", ".join(f'"{name}"' for name in row_writer.COLUMNS)


class Lab:
    """A source with a load, a server for the log, and ways to read one into the other."""

    def __init__(self, stream: Stream, log: Server, directory: Path) -> None:
        self.stream = stream
        self.log = log
        self.peak = 0.0
        #: Seconds of processor time of each run, by what the worker does.
        self.cpu: dict[str, list[float]] = defaultdict(list)
        self._rendered = directory / "rendered.copy"
        servers.create_database(log, "log")
        with closing(self.connect_log()) as connection:
            execute(connection, sql.up("schema_v1", "histories_v1", "changes_v1", "activity_v1", "seals_v1"))

    def connect_log(self) -> Any:
        return connect(self.log, "log")

    def receive(self) -> float:
        """Read the stream with ``pg_recvlogical`` and drop it."""
        server = self.stream.server
        assert server.bin_dir is not None
        with self.stream.slot() as slot:
            command = [str(server.bin_dir / "pg_recvlogical"), "-d", self.stream.database, "-S", slot]
            command += ["-h", server.host, "-p", str(server.port), "-U", server.user, "--start"]
            command += ["-f", "/dev/null"]
            command += ["-o", "proto_version=1", "-o", "publication_names=bemi", "-o", "messages=true"]
            command += [f"--endpos={self.stream.end}"]
            environment = {**os.environ, "PGPASSWORD": server.password}
            began = time.perf_counter()
            subprocess.run(command, check=True, env=environment)
            return time.perf_counter() - began

    def apply(self) -> float:
        """Read the stream with a subscription into an empty table like the source's."""
        servers.create_database(self.log, "copy")
        source = parameters(self.stream.server, self.stream.database)
        given = " ".join(f"{key}={value}" for key, value in source.items())
        with closing(connect(self.log, "copy")) as copy:
            execute(copy, TABLE)
            with self.stream.slot() as slot:
                execute(
                    copy,
                    f"CREATE SUBSCRIPTION copy CONNECTION '{given}' PUBLICATION bemi "
                    f"WITH (create_slot = false, slot_name = {slot}, copy_data = false)",
                )
                # The launcher starts the worker late, which is not the worker's time.
                while not one(copy, "SELECT count(received_lsn) FROM pg_stat_subscription"):
                    time.sleep(0.002)
                began = time.perf_counter()
                # As the subscriber sees it: it may confirm the position to the source much later.
                while not one(
                    copy,
                    "SELECT coalesce(bool_or(latest_end_lsn >= %s::pg_lsn), false) FROM pg_stat_subscription",
                    [self.stream.end],
                ):
                    time.sleep(0.02)
                seconds = time.perf_counter() - began
                execute(copy, "ALTER SUBSCRIPTION copy DISABLE")
                execute(copy, "ALTER SUBSCRIPTION copy SET (slot_name = NONE)")
                execute(copy, "DROP SUBSCRIPTION copy")
        return seconds

    def decode(self) -> float:
        with self.stream.slot() as slot:
            return self.consume("decode", slot)["seconds"]

    def render(self) -> float:
        with self.stream.slot() as slot:
            return self.consume("render", slot)["seconds"]

    def debezium(self) -> float:
        """Read the stream with Debezium's engine and drop the events."""
        source = json.dumps(parameters(self.stream.server, self.stream.database))
        with self.stream.slot() as slot:
            command = [sys.executable, "-m", "bench.debezium", source, slot, str(self.stream.events)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return float(json.loads(done.stdout.splitlines()[-1])["seconds"])

    def work(self, how: str = "work") -> float:
        """Read the stream with the worker into an empty log with the default indexes.

        Args:
            how: ``work``, or another function of :mod:`bench.consume` for a worker that does more.
        """
        self.clear()
        with self.stream.slot() as slot:
            answer = self.consume(how, slot)
        self.peak = max(self.peak, answer["rss"])
        self.cpu[how].append(answer["cpu"])
        with closing(self.connect_log()) as connection:
            found = one(connection, "SELECT count(*) FROM changes")
        if found != self.stream.changes:
            raise AssertionError(f"{found} changes, not {self.stream.changes}")
        return answer["seconds"]

    def keep_rendered(self) -> None:
        """Keep the rows that the worker has written, for :meth:`copy`."""
        query = f"COPY (SELECT {COLUMNS} FROM changes ORDER BY id) TO STDOUT (FORMAT binary)"
        with closing(self.connect_log()) as connection, self._rendered.open("wb") as file:
            connection.cursor().copy_expert(query, file, 1 << 20)

    def copy(self) -> float:
        """COPY rows that are already rendered, in one transaction."""
        self.clear()
        query = f"COPY changes ({COLUMNS}) FROM STDIN (FORMAT binary)"
        with closing(self.connect_log()) as connection, self._rendered.open("rb") as file:
            began = time.perf_counter()
            connection.cursor().copy_expert(query, file, 1 << 20)
            return time.perf_counter() - began

    def clear(self) -> None:
        with closing(self.connect_log()) as connection:
            beside = "dead_letters, _bemi.chains, _bemi.links, _bemi.activity"
            execute(connection, f"TRUNCATE changes, _bemi.checkpoint, _bemi.{beside}")
            execute(connection, "SELECT _bemi.partition_v1(now())")
            execute(connection, "CHECKPOINT")

    def consume(self, how: str, slot: str) -> dict[str, float]:
        stream = self.stream
        source = json.dumps(parameters(stream.server, stream.database))
        destination = json.dumps(parameters(self.log, "log"))
        command = [sys.executable, "-m", "bench.consume", how, source, destination, slot]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        answer: dict[str, float] = json.loads(done.stdout)
        return answer


@contextmanager
def lab(transactions: int, bulk: int) -> Iterator[Lab]:
    with (
        servers.server() as source,
        servers.server(wal_level="replica", wal_retrieve_retry_interval="100ms") as log,
        tempfile.TemporaryDirectory() as directory,
    ):
        servers.create_database(source, "source")
        yield Lab(Stream(source, "source", transactions, bulk), log, Path(directory))


def run(is_quick: bool, is_long: bool = False) -> Findings:
    with lab(6_000 if is_quick else 60_000, 10_000 if is_quick else 100_000) as made:
        made.work()
        made.keep_rendered()
        runs = {
            "pg_recvlogical to /dev/null": made.receive,
            "ours, decoded": made.decode,
            "ours, decoded and rendered": made.render,
            OURS: made.work,
            SEALED: lambda: made.work("seal"),
            MASKED: lambda: made.work("mask"),
            DROPPED: lambda: made.work("drop"),
            RULED: lambda: made.work("rule"),
            "COPY of the same rows": made.copy,
            "subscription (apply worker)": made.apply,
        }
        if debezium.is_here():
            runs[DEBEZIUM] = made.debezium
        made.cpu.clear()
        return _report(measure.rounds(2 if is_quick else 3, runs), made)


def _report(found: dict[str, list[float]], made: Lab) -> Findings:
    changes = made.stream.changes
    findings = Findings("Ingest")
    title = f"{changes:,} changes ({made.stream.bytes / changes:,.0f} bytes of WAL each)"
    table = Table(title, ["what", "changes/s", "seconds", "of pg_recvlogical", "of COPY"])
    floor, limit = found["pg_recvlogical to /dev/null"], found["COPY of the same rows"]
    for name, seconds in found.items():
        table.add(
            name,
            measure.spread([changes / second for second in seconds]).show(0),
            measure.spread(seconds).show(2),
            measure.ratios(floor, seconds).show(2),
            measure.ratios(limit, seconds).show(2),
        )
        speed = measure.spread([changes / second for second in seconds])
        findings.points.setdefault("changes/s", {})[name] = list(speed)
    findings.tables.append(table)
    decoded = measure.ratios(floor, found["ours, decoded"])
    whole = measure.ratios(limit, found[OURS])
    findings.targets += [
        Target("decoding at 0.8 of pg_recvlogical or better", decoded.show(), decoded.median >= 0.8),
        Target("end to end at 0.85 of COPY or better", whole.show(), whole.median >= 0.85),
    ]
    if DEBEZIUM in found:
        faster = measure.ratios(found[DEBEZIUM], found[OURS])
        findings.targets.append(
            Target("end to end at twice Debezium's engine alone", faster.show(), faster.median >= 2)
        )
        findings.unfair.append("Debezium's virtual machine is started for each run and still warming up.")
    else:
        findings.targets.append(Target("end to end at twice Debezium's engine alone", "", None))
    for name, most in ((SEALED, 1.1), (MASKED, 1.05)):
        cost = measure.ratios(found[name], found[OURS])
        findings.targets.append(
            Target(f"{name}: at most {most} of the time", cost.show(), cost.median <= most)
        )
    worker = Table(
        "The worker", ["what", "processor time, µs a change", "of the worker's own", "most memory, MB"]
    )
    kinds = {"work": OURS, "seal": SEALED, "mask": MASKED, "drop": DROPPED, "rule": RULED}
    for how, name in kinds.items():
        used = made.cpu[how]
        each = measure.spread([cpu / changes * 1e6 for cpu in used])
        worker.add(name, each.show(1), measure.ratios(used, made.cpu["work"]).show(), f"{made.peak:.0f}")
    findings.tables.append(worker)
    findings.unfair += [
        "COPY is one transaction without a checkpoint and reads ready rows from a file; ours also decodes.",
        "The subscription writes a copy of the table, with one index, not a log with before and after.",
        "Source and log are two servers on one machine: each reader competes with the server it reads from.",
    ]
    return findings
