"""What masks cost the worker, in processor time."""

from __future__ import annotations

from bench import measure
from bench.ingest import DROPPED, MASKED, OURS, RULED, lab
from bench.report import Findings, Table, Target

_CODED = "ours, with an HMAC of a column, and a constant for the hash"
_KINDS = {"work": OURS, "mask": MASKED, "code": _CODED, "drop": DROPPED, "rule": RULED}
_MOST = {"mask": 1.05, "drop": 1.0, "rule": 1.02}


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
        if how in _MOST:
            claim = f"{name}: at most {_MOST[how]:.2f} of the time"
            findings.targets.append(Target(claim, cost.show(), cost.median <= _MOST[how]))
    findings.tables.append(table)
    findings.unfair.append("What takes an HMAC and writes a constant is the least that a hash can cost.")
    return findings
