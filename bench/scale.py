"""What a queue between the worker and the log costs, stage by stage, and how fast many consumers are.

Two cores cannot show that more processes are faster. What they can show is the processor time that a change
takes in each stage, whether it stays the same with more processes and more changes, and what happens to the
latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from bench import measure, servers
from bench.latency import lags
from bench.live import Live
from bench.queue_rig import Rig, Usage, rig
from bench.queue_server import queue_server
from bench.report import Findings, Table, Target


def run(is_quick: bool, is_long: bool = False) -> Findings:
    findings = Findings("Scale")
    turns = 2 if is_quick else 3
    with rig() as made:
        _compare_ways(findings, made, 5_000 if is_quick else 50_000, turns)
        _add_processes(findings, made, 2_500 if is_quick else 25_000, turns)
        sizes = [10_000, 50_000] if is_quick else [100_000, 1_000_000]
        _grow(findings, made, [*sizes, 10_000_000] if is_long else sizes)
    _wait_for_changes(findings, 3 if is_quick else 20)
    findings.unfair.append(
        "Sources, queue, consumers and the log share two cores: what more processes reach in a second is "
        "reported, and only the processor time of a change is judged."
    )
    return findings


def _compare_ways(findings: Findings, made: Rig, changes: int, turns: int) -> None:
    stream = made.stream("compared", changes)
    kept: dict[str, list[Usage]] = {"the direct way": [], "publishing": [], "one consumer": []}
    sizes = []
    made.write(stream)
    for _ in range(turns):
        kept["the direct way"].append(made.write(stream))
        kept["publishing"].append(made.publish([stream]))
        sizes.append(made.queue.bytes() / stream.changes)
        kept["one consumer"].append(made.draw([stream], 1))
    table = _costs(f"Stages, {stream.changes:,} changes")
    for name, found in kept.items():
        _add_costs(table, name, found, stream.changes)
    findings.tables.append(table)
    findings.points["costs"] = _points(kept["publishing"], kept["one consumer"], stream.changes)
    direct = [usage.seconds for usage in kept["the direct way"]]
    speed = measure.ratios(direct, [usage.seconds for usage in kept["publishing"]])
    size = f"{measure.spread(sizes).show(0)}, of {stream.bytes / stream.changes:,.0f} of WAL"
    findings.targets += [
        Target("publishing at 0.9 of what the direct way writes", speed.show(), speed.median >= 0.9),
        Target("bytes of a change in the queue", size, None),
    ]


def _points(published: Sequence[Usage], drawn: Sequence[Usage], changes: int) -> dict[str, list[float]]:
    """Return the processor time in µs a change of each stage, for the simulation."""

    def each(numbers: list[float]) -> list[float]:
        return [measure.spread(numbers).median / changes * 1e6]

    queue = [one.queue + other.queue for one, other in zip(published, drawn, strict=True)]
    return {
        "publisher": each([usage.cpu for usage in published]),
        "queue": each(queue),
        "consumer": each([usage.cpu for usage in drawn]),
        "log": each([usage.log for usage in drawn]),
    }


def _add_processes(findings: Findings, made: Rig, changes: int, turns: int) -> None:
    streams = [made.stream(f"side_{number}", changes) for number in range(4)]
    table = _costs(f"More processes, {changes:,} changes a source")
    for number in (1, 2, 4):
        used = streams[:number]
        total = sum(stream.changes for stream in used)
        found = [made.publish(used) for _ in range(turns)]
        _add_costs(table, f"publishing, {number} sources", found, total)
    for number in (1, 2, 4, 8):
        found = []
        for _ in range(turns):
            made.publish(streams[:2])
            found.append(made.draw(streams[:2], number))
        _add_costs(table, f"{number} consumers, 2 sources", found, 2 * changes)
    findings.tables.append(table)


def _grow(findings: Findings, made: Rig, sizes: Sequence[int]) -> None:
    table = _costs("More changes")
    costs: dict[str, list[float]] = {"publishing": [], "one consumer": []}
    for size in sizes:
        stream = made.stream(f"grown_{size}", size)
        for name, usage in (("publishing", made.publish([stream])), ("one consumer", made.draw([stream], 1))):
            _add_costs(table, f"{name}, {size:,} changes", [usage], size)
            costs[name].append((usage.cpu + usage.queue + usage.log) / size)
    findings.tables.append(table)
    for name, found in costs.items():
        growth = found[-1] / found[0]
        claim = f"{name}: the processor time of a change at {sizes[-1]:,} within 1.2 of {sizes[0]:,}"
        findings.targets.append(Target(claim, f"{growth:.2f}", growth <= 1.2))


def _wait_for_changes(findings: Findings, seconds: int) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(servers.server())
        where = Live(source, stack.enter_context(servers.server(wal_level="replica")))
        url = stack.enter_context(queue_server()).url(4)
        stack.enter_context(where.worker(url))
        stack.enter_context(where.consumer(url))
        lags(where, 1, 100, 100)
        found = lags(where, 10_000, 500 * seconds, 500)
    table = Table("Milliseconds from commit to visible, through the queue", ["load", "p50", "p99", "most"])
    p50, p99 = measure.percentile(found, 0.5), measure.percentile(found, 0.99)
    table.add("500 transactions/s", f"{p50:.1f}", f"{p99:.1f}", f"{max(found):.1f}")
    findings.tables.append(table)
    findings.targets += [
        Target("through the queue, 500 transactions/s: p50 at most 20 ms", f"{p50:.1f} ms", p50 <= 20),
        Target("through the queue, 500 transactions/s: p99 at most 100 ms", f"{p99:.1f} ms", p99 <= 100),
    ]


def _costs(title: str) -> Table:
    columns = ["what", "changes/s", "processes", "queue", "server of the log", "most memory, MB"]
    return Table(f"{title}: processor time in µs a change", columns)


def _add_costs(table: Table, name: str, found: Sequence[Usage], changes: int) -> None:
    def each(numbers: list[float]) -> str:
        return measure.spread([number / changes * 1e6 for number in numbers]).show(1)

    speed = measure.spread([changes / usage.seconds for usage in found]).show(0)
    table.add(
        name,
        speed,
        each([usage.cpu for usage in found]),
        each([usage.queue for usage in found]),
        each([usage.log for usage in found]),
        f"{max(usage.most_memory for usage in found):.0f}",
    )
