"""What masks cost the worker, in processor time."""

from __future__ import annotations

from bench import measure
from bench.ingest import DROPPED, MASKED, OURS, RULED, lab
from bench.report import Findings, Table, Target

_KINDS = {"work": OURS, "mask": MASKED, "drop": DROPPED, "rule": RULED}


def run(is_quick: bool, is_long: bool = False) -> Findings:
    with lab(3_000 if is_quick else 15_000, 8_000 if is_quick else 40_000) as made:
        made.work()
        made.cpu.clear()
        # A run begins a process, whose imports are not counted.
        measure.rounds(3 if is_quick else 6, {how: lambda how=how: made.work(how) for how in _KINDS})
        used, changes = made.cpu, made.stream.changes
    findings = Findings("Masks")
    table = Table(
        f"{changes:,} changes of a table with eight columns",
        ["what", "processor time, µs a change", "of the worker's own", "by the fastest runs"],
    )
    for how, name in _KINDS.items():
        each = measure.spread([seconds / changes * 1e6 for seconds in used[how]])
        cost, least = measure.ratios(used[how], used["work"]), min(used[how]) / min(used["work"])
        table.add(name, each.show(1), cost.show(), f"{least:.2f}")
        if how != "work":
            limit = 1.05 if how == "mask" else 1.02 if how == "rule" else 1.0
            findings.targets.append(
                Target(f"{name}: at most {limit:.2f} of the time", cost.show(), cost.median <= limit)
            )
    findings.tables.append(table)
    return findings
