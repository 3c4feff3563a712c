"""The timetable of the season: which actions a day has, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random

from bemi_django import bound_context, record
from sample_project.store.season.by_hand import ByHand
from sample_project.store.season.catalogue import stock_up
from sample_project.store.season.clock import Clock
from sample_project.store.season.jobs import Jobs
from sample_project.store.season.office import Office
from sample_project.store.season.people import Desks, hire, usernames
from sample_project.store.season.visitors import Visitors

PRODUCTS = 1200
_CUSTOMERS = 40
HOUR = 3600.0
#: The event with which the season ends.
CLOSED = "closed the shop"
Action = Callable[[], None]
#: Seconds of the day, and what happens then.
Timed = tuple[float, Action]


class Season:
    """Days of a shop, played one after the other.

    Args:
        end: The last moment.
        days: How many days there are.
        scale: How busy they are: 1 makes about 3,300 changes a day.
        seed: Equal seeds make equal seasons.
    """

    def __init__(self, end: datetime, days: int, scale: float, seed: int) -> None:
        self._start = end - timedelta(days=days)
        self._days = days
        self._scale = scale
        self._random = Random(seed)
        self._desks = Desks()
        self.clock = Clock()

    def play(self) -> Iterator[int]:
        """Play day after day; yield the number of each when it is over."""
        opening = self.clock.at(self._start - timedelta(minutes=1))
        with opening, bound_context(command="season"):
            record("opened the shop")
            hire()
            stock_up(self._random, max(10, round(PRODUCTS * self._scale)))
            self._visitors = Visitors(self._random)
            for _ in range(_CUSTOMERS):
                self._visitors.register()
        self._office = Office(self._random, self._desks)
        self._jobs, self._by_hand = Jobs(self._random), ByHand(self._random)
        for day in range(self._days):
            begin = self._start + timedelta(days=day)
            actions = sorted(self._day(day), key=lambda timed: timed[0])
            for seconds, action in actions:
                with self.clock.at(begin + timedelta(seconds=seconds)):
                    action()
            self._desks.leave()
            yield day + 1
        with self.clock.at(self._start + timedelta(days=self._days)), bound_context(command="season"):
            record(CLOSED)

    def _day(self, day: int) -> Iterator[Timed]:
        """Yield actions, with the seconds of the day at which they happen."""
        yield from self._machines()
        yield from self._visits()
        if (self._start + timedelta(days=day)).weekday() < 5:
            yield from self._work()
        if day % 4 == 0:
            yield self._random.uniform(10, 16) * HOUR, self._by_hand.repair
        if day == self._days // 2:
            yield 15.5 * HOUR, self._by_hand.make_superuser
        if day == self._days - 1:
            for hour, price in ((10, "49.90"), (13, "44.90"), (16, "4.49")):
                yield hour * HOUR, partial(self._office.reduce, Decimal(price))

    def _machines(self) -> Iterator[Timed]:
        for hour in range(6):
            yield hour * HOUR, self._jobs.restock
        yield 4.5 * HOUR, self._jobs.forget_baskets
        for hour in range(6, 24, 2):
            yield hour * HOUR + 30, self._jobs.rate
        yield 23 * HOUR + 40, self._jobs.cancel_unpaid

    def _visits(self) -> Iterator[Timed]:
        for action, count in (
            (self._visitors.fill_basket, 160),
            (self._visitors.register, 12),
            (self._visitors.check_out, 90),
            (self._visitors.pay, 70),
        ):
            for _ in range(round(count * self._scale)):
                yield self._random.triangular(7, 23.9, 20) * HOUR, action

    def _work(self) -> Iterator[Timed]:
        for team in ("Support", "Merchandise", "Warehouse"):
            for name in usernames(team):
                yield self._random.uniform(8, 8.5) * HOUR, partial(self._desks.log_in, name)
        for _ in range(round(60 * self._scale)):
            yield self._random.uniform(9, 17) * HOUR, self._random.choice(self._office.tasks)
