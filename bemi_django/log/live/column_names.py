"""What the columns of a change are called now: a column is its number, whatever it was called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from bemi_django.wire.ids import sequence_in, source_in, source_of
from bemi_django.wire.sequence import lsn_of


class Layout(NamedTuple):
    """What a table's columns are called, by their number, from a position on.

    ``system`` is the identifier of the server to whose WAL the position belongs. ``is_noticed`` tells whether
    that is where the table was altered, rather than where it was found out.
    """

    position: int
    transaction: int
    system: str
    is_noticed: bool
    names: dict[str, str]


class PresentNames(NamedTuple):
    """The present names of a change's columns.

    Attributes:
        names: ``{then: now}``. A name that is another column's now is not one of ``now``.
        untold: Present columns of which the log does not tell what they were called.
        gone: Those of ``then`` that no present column had, or perhaps none.
    """

    names: Mapping[str, str]
    untold: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def now(self, column: str) -> str:
        """Return what a column of the change is called now."""
        return self.names.get(column, column)

    def then(self, column: str, row: Iterable[str]) -> str | None:
        """Return which of the columns of the change is called ``column`` now, or None."""
        return next((name for name in row if self.now(name) == column), None)

    def renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a row under the present names of their columns."""
        return {self.now(column): value for column, value in row.items()}


class ColumnNames:
    """The present names of a table's columns in its changes.

    Args:
        declared: Renamed columns by the settings and the model, ``{old: new}``.
        layouts: The layouts of the table, the oldest first; without any, nothing but ``declared`` is known.
        here: The identifier of the server.
    """

    def __init__(self, declared: Mapping[str, str], layouts: Sequence[Layout] = (), here: str = "") -> None:
        self._declared = declared
        self._layouts = layouts
        self._here = here
        numbers: dict[str, set[str]] = defaultdict(set)
        self._last: dict[str, str] = {}
        for layout in layouts:
            for number, name in layout.names.items():
                numbers[name].add(number)
                self._last[name] = number
        self._is_contested = any(len(found) > 1 for found in numbers.values())
        every = {name: self._present(number, name) for name, found in numbers.items() for number in found}
        self._plain = PresentNames(self._with_declared(every))
        former: dict[str, set[str]] = defaultdict(set)
        for name, found in numbers.items():
            for number in found:
                former[self._present(number, name)].add(name)
        for old, new in self._plain.names.items():
            former[new].add(old)
        self._former = former

    def present(self, name: str) -> set[str]:
        """Return the present names of all columns that had a name, at whatever time."""
        return {now for now, former in self._former.items() if name in former} or {name}

    def former(self, column: str) -> set[str]:
        """Return all names that a column has had which is called ``column`` now, with this one."""
        return {column} | self._former.get(column, set())

    def own(self, column: str) -> list[str]:
        """Return those names of a column that no other one has had, its present one the first."""
        return [column, *sorted(n for n in self.former(column) - {column} if self.present(n) == {column})]

    def under_own(self, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield values of columns by each of their own names."""
        for columns in product(*map(self.own, values)):
            yield dict(zip(columns, values.values(), strict=True))

    def renamed(self) -> Iterator[set[str]]:
        """Yield all names of each column that has had several, its present one with them."""
        for now, former in self._former.items():
            # What a dropped column is called, whose name another one has, is no name that a row has.
            names = former | {now} if now in self._last or now in self._declared.values() else former
            if len(names) > 1:
                yield names

    def alike(self, name: str) -> set[str]:
        """Return all names of all columns that had a name, at whatever time."""
        return {name}.union(*(names for names in self.renamed() if name in names))

    def of(self, change: Any) -> PresentNames:
        """Return the names for a change."""
        if not self._is_contested:
            return self._plain
        row = change.before or change.after
        found, later = self._at(change)
        fitting = [one for one in found if set(one.names.values()) == row.keys()] or found
        told = [self._names(one) for one in fitting]
        if later is not None and not later.is_noticed:
            told.append(self._names(later))
        meant = [{one.get(name) for one in told} for name in row]
        untold = {name for names in meant if len(names) > 1 for name in names}
        names = self._with_declared(told[0])
        present = set(self._layouts[-1].names.values())
        return PresentNames(
            {then: f"{now} (not told)" if now in untold else now for then, now in names.items()},
            frozenset(name for name in untold if name is not None),
            frozenset(then for then, now in names.items() if now in untold or now not in present),
        )

    def _with_declared(self, told: Mapping[str, str]) -> dict[str, str]:
        return {**{old: told.get(new, new) for old, new in self._declared.items()}, **told}

    def _at(self, change: Any) -> tuple[list[Layout], Layout | None]:
        """Return the layouts that a change may have, the newest first, and the next one."""
        position = lsn_of(sequence_in(change.pk.bytes))
        source = source_in(change.pk.bytes)
        own = [n for n, one in enumerate(self._layouts) if source_of(one.system, change.database) == source]
        if not own and source != source_of(self._here, change.database):
            # It comes from a server on which none of the layouts was found.
            return list(reversed(self._layouts)), None
        begin = own[0] if own else len(self._layouts)
        found: list[Layout] = []
        later = None
        for place, layout in reversed(list(enumerate(self._layouts))):
            # What other servers have found is before all of this one's, or after it.
            if place and (position <= layout.position if place in own else place > begin):
                later = layout
                continue
            found.append(layout)
            # What a transaction wrote before it altered the table has the names from before it.
            if place not in own or layout.transaction != change.transaction_id:
                break
        return found, later

    def _names(self, layout: Layout) -> dict[str, str]:
        return {name: self._present(number, name) for number, name in layout.names.items()}

    def _present(self, number: str, name: str) -> str:
        """Return the present name of a column. One that was dropped keeps its own, unless another took it."""
        now = self._layouts[-1].names.get(number)
        return now or (name if self._last[name] == number else f"{name} (dropped)")
