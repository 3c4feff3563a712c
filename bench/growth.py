"""Whether a log of ten million changes is as quick as one of a hundred thousand."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from bench import measure
from bench.filling import fill
from bench.ingest import Lab, lab
from bench.report import Findings, Table, Target
from bench.servers import execute, one

_LISTS: dict[str, str] = {
    "admin list (the latest 100)": "SELECT * FROM changes ORDER BY id DESC LIMIT 100",
    "history of an object": (
        "SELECT * FROM changes WHERE \"table\" = 'item' AND primary_key = %(key)s ORDER BY id DESC LIMIT 100"
    ),
    "changes of a request": (
        "SELECT * FROM changes WHERE context @> jsonb_build_object('request_id', md5(%(request)s::text))"
    ),
    "an object as of a moment": (
        "SELECT after FROM changes WHERE \"table\" = 'item' AND primary_key = %(key)s "
        "AND committed_at <= %(moment)s ORDER BY id DESC LIMIT 1"
    ),
}


def run(is_quick: bool, is_long: bool = False) -> Findings:
    sizes = [10_000, 100_000] if is_quick else [100_000, 1_000_000]
    if is_long:
        sizes = [100_000, 1_000_000, 10_000_000]
    findings = Findings("Growth")
    names = ["ingest, a change", *_LISTS]
    found: dict[int, dict[str, measure.Spread]] = {}
    with lab(5_000 if is_quick else 20_000, 0) as made:
        made.work()
        for size in sizes:
            found[size] = _at(made, size)
    table = Table(
        "Microseconds at a number of changes in the log",
        ["what", *(f"{size:,}" for size in sizes), "last / first"],
    )
    for name in names:
        medians = [found[size][name].median for size in sizes]
        table.add(name, *(found[size][name].show(0) for size in sizes), f"{medians[-1] / medians[0]:.2f}")
        growth = medians[-1] / medians[0]
        claim = f"{name}: {sizes[-1]:,} changes within 1.2 of {sizes[0]:,}"
        findings.targets.append(Target(claim, f"{growth:.2f}", growth <= 1.2))
        findings.points.setdefault("microseconds by size", {})[name] = medians
    findings.points["sizes"] = {"sizes": [float(size) for size in sizes]}
    findings.tables.append(table)
    if not is_long:
        findings.unfair.append("10,000,000 changes take minutes to make: --long does.")
    findings.unfair.append(
        "The changes that are there are made by the server, in order, and are all of this month."
    )
    return findings


def _at(made: Lab, size: int) -> dict[str, measure.Spread]:
    made.clear()
    with closing(made.connect_log()) as connection:
        fill(connection, 1, size)
        found = {name: measure.spread(_asked(connection, query, size)) for name, query in _LISTS.items()}
    runs: dict[str, Callable[[], float]] = {"ingest, a change": partial(_ingest, made)}
    for name, numbers in measure.rounds(3, runs).items():
        found[name] = measure.spread(numbers)
    return found


def _ingest(made: Lab) -> float:
    """Microseconds a change; what was written is taken away again."""
    with closing(made.connect_log()) as connection:
        execute(connection, "DELETE FROM _bemi.checkpoint")
        with made.stream.slot() as slot:
            seconds = made.consume("work", slot)["seconds"]
        # Those that were filled in have both numbers alike.
        execute(connection, "DELETE FROM changes WHERE position <> transaction_id")
        execute(connection, "VACUUM changes")
    return seconds / made.stream.changes * 1e6


def _asked(connection: Any, query: str, size: int) -> list[float]:
    """Microseconds of each of 200 questions; what is asked for differs."""
    chance = random.Random(1)
    (first,) = execute(connection, "SELECT date_trunc('month', now())")[0]
    last = one(connection, "SELECT now()")
    seconds = []
    for number in range(220):
        values = {
            "key": str(chance.randrange(max(size // 10, 1))),
            "request": chance.randrange(size // 3),
            "moment": first + (last - first) * chance.random(),
        }
        began = time.perf_counter()
        execute(connection, query, values)
        if number >= 20:
            seconds.append((time.perf_counter() - began) * 1e6)
    return seconds
