"""How many processes a rate of changes needs, and how long changes then take: ``python -m bench.simulation``.

A model of the pipeline, fed with the processor time that a change takes in each stage, as ``python -m bench
scale`` measures it. Transactions arrive at random (Poisson) and have a geometric number of changes. Each
stage is a row of servers that take what has come while they were busy, up to a limit, as publishers and
consumers do: a batch takes a fixed time and a time for each change. What is not in the model: networks,
vacuum, and what else the machines do.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench import report
from bench.measure import percentile
from bench.report import Table

#: Its table of stages has the microseconds of processor time of a change.
_PAGE = report.HERE.parent / "docs" / "scaling.md"
#: Cores of a server of the log, and of a node of the queue.
_CORES = 16
#: The part of a processor that is planned to be busy.
_BUSY = 0.6
#: Seconds until a batch is acknowledged by the queue, and until one is committed by the log.
_ACKNOWLEDGED, _COMMITTED = 0.002, 0.003
_CHANGES_OF_TRANSACTION = 3.0
#: Changes of a batch.
_MOST_OF_PUBLISHER, _MOST_OF_CONSUMER = 2_000, 5_000


class Costs(NamedTuple):
    """Seconds of processor time that a change takes, by stage."""

    publisher: float
    queue: float
    consumer: float
    log: float


class Plan(NamedTuple):
    """How many of each part a rate of changes a second needs."""

    rate: float
    sources: int
    leaders: int
    consumers: int
    destinations: int


class Arrival(NamedTuple):
    """A transaction, or what of it goes to one consumer: when it came, when it was committed, its changes."""

    moment: float
    committed: float
    changes: int


def plan(rate: float, costs: Costs, cores: int = _CORES) -> Plan:
    """Return what a rate needs if no processor is to be busy for more than a part of the time."""

    def number(seconds: float, at_once: int) -> int:
        return max(1, math.ceil(rate * seconds / (_BUSY * at_once)))

    # A stream has one leader, which writes in one thread, and a consumer waits for the log's server.
    sources, leaders = number(costs.publisher, 1), number(costs.queue, 1)
    return Plan(rate, sources, leaders, number(costs.consumer + costs.log, 1), number(costs.log, cores))


def serve(arrivals: Iterable[Arrival], fixed: float, each: float, most: int) -> list[Arrival]:
    """Return when a server has done what came to it, in the order in which it came.

    Args:
        arrivals: In the order of their moments.
        fixed: Seconds that a batch takes, whatever is in it.
        each: Seconds that a change takes.
        most: Changes that a batch may have; a larger arrival is a batch of its own.
    """
    done: list[Arrival] = []
    batch: list[Arrival] = []
    free, size = -math.inf, 0

    def finish() -> float:
        end = max(free, batch[0].moment) + fixed + size * each
        done.extend(one._replace(moment=end) for one in batch)
        batch.clear()
        return end

    for arrival in arrivals:
        starts = max(free, batch[0].moment) if batch else math.inf
        if batch and (arrival.moment > starts or size + arrival.changes > most):
            free, size = finish(), 0
        batch.append(arrival)
        size += arrival.changes
    if batch:
        finish()
    return done


def simulate(made: Plan, costs: Costs, seconds: float, seed: int = 1) -> list[float]:
    """Return the seconds from commit to visible of the changes that one of the consumers writes.

    Consumers are alike, so one is enough; it gets its part of what all sources publish.
    """
    chance = random.Random(seed)
    coming: list[Arrival] = []
    for _ in range(made.sources):
        published = serve(
            _transactions(chance, made.rate / made.sources, seconds),
            _ACKNOWLEDGED,
            costs.publisher,
            _MOST_OF_PUBLISHER,
        )
        coming += _share(chance, published, made.consumers)
    coming.sort()
    written = serve(coming, _COMMITTED, costs.consumer + costs.log, _MOST_OF_CONSUMER)
    return [one.moment - one.committed for one in written if one.committed > seconds / 4]


def _transactions(chance: random.Random, rate: float, seconds: float) -> list[Arrival]:
    made: list[Arrival] = []
    moment = 0.0
    while True:
        moment += chance.expovariate(rate / _CHANGES_OF_TRANSACTION)
        if moment > seconds:
            return made
        changes = 1 + int(math.log(1 - chance.random()) / math.log(1 - 1 / _CHANGES_OF_TRANSACTION))
        made.append(Arrival(moment, moment, changes))


def _share(chance: random.Random, published: Sequence[Arrival], consumers: int) -> list[Arrival]:
    """Return the part of one of the consumers: each change of a transaction goes to any of them."""
    part = []
    for one in published:
        changes = sum(chance.random() * consumers < 1 for _ in range(one.changes))
        if changes:
            part.append(one._replace(changes=changes))
    return part


def table(rates: Sequence[float], costs: Costs, seconds: float) -> Table:
    columns = ["changes/s", "sources", "leaders of streams", "consumers", "servers of the log", "p50", "p99"]
    made = Table(f"What a rate needs with {_CORES} cores a server, at most {_BUSY:.0%} busy", columns)
    for rate in rates:
        needed = plan(rate, costs)
        found = simulate(needed, costs, seconds)
        shares = [f"{percentile(found, share) * 1000:.0f} ms" for share in (0.5, 0.99)]
        made.add(f"{rate:,.0f}", *needed[1:], *shares)
    return made


def measured() -> Costs:
    """Return what ``python -m bench scale`` has found last here, or else what the page says."""
    points = report.load().get("scale", {}).get("points", {})
    if not points:
        return of_page(_PAGE.read_text())
    return Costs(**{name: points["costs"][name][0] / 1e6 for name in Costs._fields})


def of_page(text: str) -> Costs:
    """Return the costs that docs/scaling.md has, in microseconds: process, queue, server of the log."""

    def row(stage: str) -> list[float]:
        (cells,) = re.findall(rf"^\| {stage} \|(.*)\|$", text, re.MULTILINE)
        return [float(cell.split()[0]) if cell.strip() else 0.0 for cell in cells.split("|")[:3]]

    (publisher, published, _), (consumer, drawn, log) = row("publisher"), row("consumer")
    return Costs(*(cost / 1e6 for cost in (publisher, published + drawn, consumer, log)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
    parser.add_argument("rates", nargs="*", type=float, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=2.0, help="of the model's time")
    given = parser.parse_args()
    costs = measured()
    shown = ", ".join(f"{name} {cost * 1e6:.1f}" for name, cost in costs._asdict().items())
    sys.stdout.write(f"Processor time in µs a change: {shown}\n\n")
    sys.stdout.write(table(given.rates, costs, given.seconds).markdown() + "\n")


if __name__ == "__main__":
    main()
