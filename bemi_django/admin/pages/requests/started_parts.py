"""What a request or a run of a task has started, as far as the log knows it, on an axis of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import NamedTuple

from django.db.models import Q
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from bemi_django import destinations
from bemi_django.admin.access.viewer import Viewer
from bemi_django.admin.display.actions.run import RUN_KEYS, ActionRun, run_url
from bemi_django.admin.display.contexts.context_lines import search_for
from bemi_django.admin.display.site_time import took
from bemi_django.admin.display.values.turned_text import in_order
from bemi_django.admin.pages.requests.part_tree import MadeChange, RunPart, key_of, run_of_part, tree_of, walk
from bemi_django.admin.search import query_timeouts
from bemi_django.admin.search.change_reader import read_changes
from bemi_django.admin.search.query_plans import TimedOut, bitmap_scan_only
from bemi_django.models import Change

#: The number of parts that are shown.
SHOWN = 20
#: The number of queries, of changes that each of them reads, and of ids that it looks for.
QUERIES, READ, ASKED = 3, 500, 50
#: The width in per cent of a bar for a single commit.
_LEAST = 0.8


class StartedPart(NamedTuple):
    """A part as the page shows it.

    Attributes:
        label: What it is called.
        url: Its page, or None.
        is_current: Whether it is the one whose page this is.
        x: Where its bar begins, in per cent.
        width: The width of its bar, in per cent.
        kind: The colour of its bar.
        later: When it began, as far as that is known, else when it first committed, since the tree began.
        took: How long after that it committed last; empty if it is the same moment.
        changes: The number of its changes.
        parts: What it has started.
    """

    label: str
    url: str | None
    is_current: bool
    x: str
    width: str
    kind: str
    later: str
    took: str
    changes: int
    parts: list[StartedPart]


class StartedTree(NamedTuple):
    """A request or a run with what it has started.

    Attributes:
        top: The request or the run itself.
        began: When the first part began, as far as that is known, else its first commit.
        last: The last commit.
        shown: The number of parts that are shown, beside the first.
        is_cut: Whether there are more.
        is_too_slow: Whether finding them took too long.
        search: The list of the changes of what was started, or None if there are none.
    """

    top: StartedPart
    began: datetime
    last: datetime
    shown: int
    is_cut: bool
    is_too_slow: bool
    search: str | None


def started_tree(
    run: ActionRun, changes: Sequence[Change], viewer: Viewer, *, is_cut: bool
) -> StartedTree | None:
    """Return what a request or a run has started, or None if the log knows nothing of it.

    Args:
        run: The request or the run.
        changes: Its changes, as far as the page shows them.
        viewer: Who sees it.
        is_cut: Whether it has more changes.
    """
    found = _Started(run, changes, viewer)
    found.read()
    top = tree_of(run, map(found.made, [*changes, *found.changes]))
    parts = list(walk(top))
    if len(parts) == 1 and not found.is_too_slow:
        return None
    axis = min(part.began for part in parts), max(part.last for part in parts)
    shown = {id(part) for part in parts[: SHOWN + 1]}
    search = f"{viewer.url('changelist')}?{urlencode({'q': search_for(f'parent_{run.key}', run.id)})}"
    return StartedTree(
        _Drawn(viewer, axis, shown).part(top, ActionRun(run.key, run.id)),
        *axis,
        len(shown) - 1,
        is_cut or found.is_cut or len(parts) > len(shown),
        found.is_too_slow,
        search if found.changes or found.is_too_slow else None,
    )


class _Started:
    """Reads what a run has started, and what that has started, with few queries."""

    def __init__(self, run: ActionRun, changes: Sequence[Change], viewer: Viewer) -> None:
        self._run = run
        self._own = changes
        self._viewer = viewer
        self.changes: list[Change] = []
        self.is_cut = False
        self.is_too_slow = False

    def made(self, change: Change) -> MadeChange:
        """Return what a change says of its part. Ids that are masked tell nothing apart."""
        given = {name: change.context[name] for name in _NAMES if name in change.context}
        hidden = {name for name in self._viewer.masks.hidden_in_context(given) if name.endswith("_id")}
        visible = self._viewer.visible_context(given)
        return MadeChange(
            change.committed_at, {name: value for name, value in visible.items() if name not in hidden}
        )

    def read(self) -> None:
        """Read the changes of what the run has started."""
        made = list(map(self.made, self._own))
        around = ActionRun("request_id", tree_of(self._run, made).key.request_id)
        # What else the request has started in which a task was published is no part of the task.
        asked = {around} - {self._run}
        seen = {change.pk for change in self._own}
        wanted = {self._run, *_runs(made)} - asked
        for _query in range(QUERIES):
            new = [change for change in self._read(sorted(wanted)) if change.pk not in seen]
            seen |= {change.pk for change in new}
            self.changes += new
            asked |= wanted
            wanted = set(_runs(map(self.made, new))) - asked
            if not wanted or self.is_too_slow:
                return
        self.is_cut = True

    def _read(self, runs: Sequence[ActionRun]) -> list[Change]:
        parts = [{f"parent_{run.key}": run.id} for run in runs[:ASKED]]
        conditions = [
            Q(context__contains=part) for part in parts if not self._viewer.masks.hidden_in_context(part)
        ]
        if not conditions:
            return []
        found: list[Change] = []
        try:
            for alias in destinations.meant():
                with destinations.here(alias), bitmap_scan_only(query_timeouts.LOOKUP):
                    query = self._viewer.changes().filter(reduce(or_, conditions)).order_by()
                    found += read_changes(query.defer("before", "after")[: READ + 1])
        except TimedOut:
            self.is_too_slow = True
        self.is_cut = self.is_cut or len(found) > READ or len(runs) > ASKED
        return found[:READ]


#: The keys of contexts that tell what a part is.
_NAMES = (*RUN_KEYS, *(f"parent_{key}" for key in RUN_KEYS), "method", "endpoint", "task", "command")


def _runs(made: Iterable[MadeChange]) -> Iterator[ActionRun]:
    for change in made:
        key = key_of(change.context)
        yield from (ActionRun(name, found) for name, found in key._asdict().items() if found)


class _Drawn:
    """Draws parts on an axis of time."""

    def __init__(self, viewer: Viewer, axis: tuple[datetime, datetime], shown: set[int]) -> None:
        self._viewer = viewer
        self._first = axis[0]
        self._span = (axis[1] - axis[0]) or timedelta(microseconds=1)
        self._shown = shown

    def part(self, part: RunPart, run: ActionRun, *, is_current: bool = True) -> StartedPart:
        """Return a part with those below it."""
        x, end = (100 * ((moment - self._first) / self._span) for moment in (part.began, part.last))
        width = max(end - x, _LEAST)
        return StartedPart(
            _label(part, run),
            None if is_current or not run.id else run_url(run, self._viewer),
            is_current,
            f"{min(x, 100 - width):.2f}",
            f"{width:.2f}",
            "update" if is_current else "baseline",
            f"+{took(part.began - self._first)}",
            took(part.last - part.began) if part.last > part.began else "",
            part.count,
            [
                self.part(below, run_of_part(below, part), is_current=False)
                for below in part.parts
                if id(below) in self._shown
            ],
        )


def _label(part: RunPart, run: ActionRun) -> str:
    names = {"request_id": ("method", "endpoint"), "task_id": ("task",), "command_id": ("command",)}[run.key]
    found = " ".join(str(part.context[name]) for name in names if part.context.get(name))
    if not found:
        return run.label if run.id else _("unknown")
    return in_order(found) if run.key == "request_id" else run._replace(id=found).label
