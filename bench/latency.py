"""How long after its commit a change is visible in ``changes``."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from bench.live import INSERT, Live, live
from bench.measure import percentile
from bench.report import Findings, Table, Target
from bench.servers import execute


class Watch(threading.Thread):
    """Polls the log and notes when each key appears; keys are committed one after another."""

    def __init__(self, where: Live, first: int, last: int, pause: float) -> None:
        super().__init__(daemon=True)
        self._where = where
        self._next = first
        self._last = last
        self._pause = pause
        self.seen: dict[int, float] = {}

    def run(self) -> None:
        ids: dict[int, str] = {}
        # Several consumers of a queue do not write in the order of commits: only what has no gap is passed.
        passed = "00000000-0000-0000-0000-000000000000"
        with closing(self._where.connect_log()) as connection:
            while self._next <= self._last:
                found = execute(
                    connection, "SELECT id, primary_key FROM changes WHERE id > %s ORDER BY id", [passed]
                )
                now = time.perf_counter()
                for identifier, key in found:
                    ids[int(key)] = identifier
                    self.seen.setdefault(int(key), now)
                while self._next in ids:
                    passed = ids[self._next]
                    self._next += 1
                time.sleep(self._pause)


def lags(where: Live, first: int, count: int, rate: float) -> list[float]:
    """Return the milliseconds from the end of each commit to the first poll that finds the change."""
    watch = Watch(where, first, first + count - 1, 0.001)
    watch.start()
    committed: dict[int, float] = {}
    with closing(where.connect_source()) as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            cursor.execute(INSERT, [first + number, "some words " * 8])
            committed[first + number] = time.perf_counter()
        reached = count / (time.perf_counter() - began)
    watch.join(60)
    if reached < 0.9 * rate:
        raise RuntimeError(f"only {reached:.0f} transactions/s: the machine is too busy")
    return [(watch.seen[key] - moment) * 1000 for key, moment in committed.items()]


def run(is_quick: bool, is_long: bool = False) -> Findings:
    findings = Findings("Latency")
    table = Table(
        "Milliseconds from commit to visible in changes", ["load", "transactions", "p50", "p99", "most"]
    )
    seconds = 3 if is_quick else 20
    with live() as where, where.worker():
        lags(where, 1, 100, 100)
        busy = lags(where, 10_000, 500 * seconds, 500)
        idle = lags(where, 1_000_000, 4 * seconds, 4)
    for name, found in (("500 transactions/s", busy), ("idle: 4 transactions/s", idle)):
        cells = [f"{percentile(found, share):.1f}" for share in (0.5, 0.99)]
        table.add(name, f"{len(found):,}", *cells, f"{max(found):.1f}")
    findings.tables.append(table)
    p50, p99 = percentile(busy, 0.5), percentile(busy, 0.99)
    quiet = percentile(idle, 0.5)
    findings.targets += [
        Target("500 transactions/s: p50 at most 30 ms", f"{p50:.1f} ms", p50 <= 30),
        Target("500 transactions/s: p99 at most 150 ms", f"{p99:.1f} ms", p99 <= 150),
        Target("idle: at most 15 ms (p50)", f"{quiet:.1f} ms", quiet <= 15),
    ]
    findings.unfair += [
        "Writer, watcher, worker and two servers share the machine; the watcher polls each millisecond, so "
        "up to that much is its own delay."
    ]
    shares = [number / 200 for number in range(200)]
    findings.points["latency"] = {
        name: [percentile(found, share) for share in shares]
        for name, found in (("500/s", busy), ("idle", idle))
    }
    return findings
