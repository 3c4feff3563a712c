"""The model of the pipeline: it agrees with what queueing theory knows, and with itself."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from bench.measure import percentile
from bench.simulation import Arrival, Costs, of_page, plan, serve, simulate
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "scaling.md").read_text()
COSTS = Costs(publisher=20e-6, queue=4e-6, consumer=20e-6, log=30e-6)


def arrivals(number: int, rate: float, changes: int = 1) -> list[Arrival]:
    chance, moment, made = random.Random(7), 0.0, []
    for _ in range(number):
        moment += chance.expovariate(rate)
        made.append(Arrival(moment, moment, changes))
    return made


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_a_server_that_takes_one_at_a_time_waits_as_long_as_theory_says(busy: float) -> None:
    seconds = 0.001
    done = serve(arrivals(100_000, busy / seconds), fixed=seconds, each=0.0, most=1)
    waited = mean(one.moment - one.committed for one in done) - seconds
    # The Pollaczek-Khinchine formula for a constant time of service.
    assert waited == pytest.approx(busy * seconds / (2 * (1 - busy)), rel=0.1)


def test_a_server_takes_what_has_come_while_it_was_busy() -> None:
    coming = [Arrival(0.0, 0.0, 1), Arrival(0.5, 0.5, 2), Arrival(0.9, 0.9, 3), Arrival(5.0, 5.0, 1)]
    done = serve(coming, fixed=1.0, each=0.1, most=100)
    assert [one.moment for one in done] == pytest.approx([1.1, 2.6, 2.6, 6.1])
    assert [one.moment for one in serve(coming, 1.0, 0.1, most=2)] == pytest.approx([1.1, 2.3, 3.6, 6.1])


@pytest.mark.parametrize("rate", [1_000, 50_000])
def test_what_a_plan_has_is_enough(rate: float) -> None:
    found = sorted(simulate(plan(rate, COSTS), COSTS, seconds=1.0))
    # A stage that is overloaded falls behind by more with each second.
    assert found[-1] < 0.2
    assert found[0] > 0.005


def test_a_plan_that_is_too_small_falls_behind() -> None:
    needed = plan(100_000, COSTS)
    small = needed._replace(consumers=needed.consumers // 3)
    assert max(simulate(small, COSTS, seconds=1.0)) > 3 * max(simulate(needed, COSTS, seconds=1.0))


def test_the_page_counts_with_the_costs_that_it_names() -> None:
    costs = of_page(PAGE)
    rows = [[cell.replace(",", "") for cell in line.split(" | ")] for line in _rows_of_rates()]
    assert [float(rate) for rate, *_ in rows] == [10_000, 30_000, 100_000, 1_000_000]
    for rate, *numbers, _p50, _p99 in rows:
        assert [int(number) for number in numbers] == [*plan(float(rate), costs)[1:]]
    # It takes long to simulate the larger ones.
    for rate, *_, p50, p99 in rows[:2]:
        found = simulate(plan(float(rate), costs), costs, seconds=2.0)
        assert [f"{percentile(found, share) * 1000:.0f} ms" for share in (0.5, 0.99)] == [p50, p99]
    made = plan(1_000_000, costs)
    said = " ".join(PAGE.split())
    for sentence in (
        f"1,000,000 × {costs.publisher * 1e6:.1f} µs / 0.6 = {made.sources} publishers",
        f"{made.leaders} streams; {made.consumers} consumers; and 1,000,000 × {costs.log * 1e6:.1f} µs "
        f"/ (0.6 × 16) = {made.destinations} servers",
    ):
        assert sentence in said


def _rows_of_rates() -> list[str]:
    _, _, rest = PAGE.partition("| changes a second | publishers |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [line.strip("| ") for line in lines]
