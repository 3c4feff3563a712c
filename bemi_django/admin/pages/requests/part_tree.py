"""Arrange the changes of a request and of what it has started as a tree: requests and tasks with their parts.

A part is what has one request id and one id of a run of a task. Which one has started another, their contexts
say: a task keeps the id of the request that has published it, and both keep the id of an enclosing one of
their kind under ``parent_``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from bemi_django.admin.display.actions.run import ActionRun


class PartKey(NamedTuple):
    """What tells parts apart; empty where a context has no such id."""

    request_id: str
    task_id: str


@dataclass
class RunPart:
    """What one request, or one run of a task, did.

    Attributes:
        key: What it is.
        context: The context of its first change, as the viewer sees it.
        began: When it began, as far as that is known, else when it committed first.
        last: When it committed last.
        count: The number of its changes.
        parts: What it has started.
    """

    key: PartKey
    context: dict[str, Any]
    began: datetime
    last: datetime
    count: int = 0
    parts: list[RunPart] = field(default_factory=list)


class MadeChange(NamedTuple):
    """When a change was committed, and its context as the viewer sees it."""

    committed_at: datetime
    context: dict[str, Any]


def key_of(context: dict[str, Any]) -> PartKey:
    """Return which part a change belongs to."""
    return PartKey(_id(context, "request_id"), _id(context, "task_id"))


def tree_of(run: ActionRun, changes: Iterable[MadeChange]) -> RunPart:
    """Return the part of a request or a run, with what it has started below it.

    Args:
        run: The request or the run.
        changes: Its changes and those of what it has started, at least one.
    """
    found: dict[PartKey, RunPart] = {}
    for change in changes:
        key = key_of(change.context)
        part = found.setdefault(key, RunPart(key, change.context, change.committed_at, change.committed_at))
        part.began, part.last = min(part.began, change.committed_at), max(part.last, change.committed_at)
        part.count += 1
    ordered = sorted(found.values(), key=lambda part: part.began)
    root = next((part for part in ordered if _is_root(part, run, found)), None)
    # Only what it has started has written anything.
    top = root or RunPart(_root_key(run), _context_of(run, ordered), ordered[0].began, ordered[0].began)
    parents = {id(part): _parent(part, found) or top for part in ordered if part is not top}
    _break_circles(ordered, parents, top)
    for part in ordered:
        if part is not top:
            parents[id(part)].parts.append(part)
            made_by = run_of_part(part, parents[id(part)])
            part.began = made_by.began_at(part.began) or part.began
    top.began = run.began_at(top.began) or top.began
    return top


def run_of_part(part: RunPart, parent: RunPart) -> ActionRun:
    """Return what a part is: a request or a task, by the id that the one which has started it has not."""
    if part.key.request_id and part.key.request_id != parent.key.request_id:
        return ActionRun("request_id", part.key.request_id)
    return ActionRun("task_id", part.key.task_id)


def walk(part: RunPart) -> Iterator[RunPart]:
    """Yield a part and all parts below it."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += reversed(part.parts)


def _root_key(run: ActionRun) -> PartKey:
    return PartKey(*(run.id if run.key == name else "" for name in PartKey._fields))


def _context_of(run: ActionRun, parts: Iterable[RunPart]) -> dict[str, Any]:
    """Return the context of what ran in it: what it has only sent has an endpoint of its own."""
    return next((part.context for part in parts if part.context.get(run.key) == run.id), {})


def _is_root(part: RunPart, run: ActionRun, found: dict[PartKey, RunPart]) -> bool:
    if run.key == "request_id":
        return part.key == (run.id, "")
    if run.key == "task_id":
        outer = PartKey(_id(part.context, "parent_request_id"), run.id)
        return part.key.task_id == run.id and outer not in found
    return part.context.get(run.key) == run.id and not any(part.key)


def _parent(part: RunPart, found: dict[PartKey, RunPart]) -> RunPart | None:
    """Return the part that has started one, or None if that has changed nothing itself."""
    request, task = part.key
    outer, publisher = (_id(part.context, f"parent_{name}") for name in PartKey._fields)
    candidates = [
        # A request that a task sends.
        PartKey(outer, task) if outer and task else None,
        # A task that a task publishes, in the same request or not.
        PartKey(request, publisher) if publisher else None,
        next((key for key in found if publisher and key.task_id == publisher), None),
        # A task that a request publishes.
        PartKey(request, "") if request and task else None,
        # A request that a request sends.
        PartKey(outer, "") if outer else None,
    ]
    keys = (key for key in candidates if key is not None and key in found and key != part.key)
    return next(map(found.__getitem__, keys), None)


def _break_circles(parts: Iterable[RunPart], parents: dict[int, RunPart], top: RunPart) -> None:
    """Let all parts be below the top one: contexts can hold anything, also a circle."""
    below = {id(top)}
    for part in parts:
        path: list[RunPart] = []
        here = part
        while id(here) not in below:
            if here in path:
                parents[id(here)] = top
                break
            path.append(here)
            here = parents[id(here)]
        below |= set(map(id, path))


def _id(context: dict[str, Any], name: str) -> str:
    found = context.get(name)
    return found if isinstance(found, str) else ""
