"""How much memory the worker takes: idle, under load, with one huge transaction."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import closing

import psutil

from bench.live import Live, live
from bench.report import Findings, Table, Target
from bench.servers import execute
from bench.trigger import CONTEXT

_ROWS = f"""/*Bemi {CONTEXT} Bemi*/ INSERT INTO item
SELECT i, i %% 1000, 'Item number ' || i, repeat('some words ', 8), false, i / 100.0, now(), '2026-06-30'
FROM generate_series(%s, %s) i"""


class Gauge(threading.Thread):
    """Samples the resident memory of a process, in MB, until the block ends."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._done = threading.Event()
        self.seen: list[float] = []

    def run(self) -> None:
        while not self._done.wait(0.05):
            self.seen.append(self._process.memory_info().rss / 1e6)

    def __enter__(self) -> list[float]:
        self.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def run(is_quick: bool, is_long: bool = False) -> Findings:
    rows = 5_000_000 if is_long else 100_000 if is_quick else 1_000_000
    seconds = 3600 if is_long else 5 if is_quick else 40
    findings = Findings("Memory")
    with live() as where, where.worker() as process:
        with Gauge(process) as idle:
            time.sleep(3)
        with Gauge(process) as load:
            # The changes of an hour have to fit on a disk.
            written = _load(where, seconds, pause=0.05 if is_long else 0.005)
            where.catch_up(written)
        with Gauge(process) as huge:
            with closing(where.connect_source()) as connection:
                execute(connection, _ROWS, [10_000_001, 10_000_000 + rows])
            where.catch_up(written + rows)
    third = len(load) // 3
    early, late = statistics.median(load[third : 2 * third]), statistics.median(load[2 * third :])
    table = Table("Resident memory of the worker in MB", ["when", "median", "most"])
    table.add("idle", f"{statistics.median(idle):.0f}", f"{max(idle):.0f}")
    table.add(f"{seconds} s of load, {written:,} changes, second third", f"{early:.0f}", f"{max(load):.0f}")
    table.add("the same, last third", f"{late:.0f}", f"{max(load[2 * third :]):.0f}")
    table.add(f"one transaction of {rows:,} rows", f"{statistics.median(huge):.0f}", f"{max(huge):.0f}")
    findings.tables.append(table)
    findings.targets += [
        Target("at most 60 MB idle", f"{max(idle):.0f} MB", max(idle) <= 60),
        Target(f"flat over {seconds} s of load", f"{early:.0f} MB, then {late:.0f} MB", late <= early * 1.05),
        Target(
            f"at most 150 MB with {rows:,} rows in a transaction", f"{max(huge):.0f} MB", max(huge) <= 150
        ),
    ]
    if not is_long:
        findings.unfair.append("An hour of load and 5,000,000 rows in one transaction take --long.")
    return findings


def _load(where: Live, seconds: float, pause: float) -> int:
    """Commit transactions of 50 rows with a pause after each; return the number of rows."""
    end, key = time.monotonic() + seconds, 1
    with closing(where.connect_source()) as connection:
        execute(connection, "SET synchronous_commit = off")
        while time.monotonic() < end:
            execute(connection, _ROWS, [key, key + 49])
            key += 50
            # Without a pause the log would fall far behind: a backlog, not a load.
            time.sleep(pause)
    return key - 1
