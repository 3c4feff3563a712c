"""Check steps against each other and against other rows: conflicts, and which step must come first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from bemi_django.log.live.equality import swapped
from bemi_django.log.live.live_rows import find_keys, find_partial
from bemi_django.log.live.live_tables import LiveCatalog, LiveTable, Name, Reference, Unique
from bemi_django.revert import wording
from bemi_django.revert.conflicts.equal_keys import EqualKeys, given, held, written
from bemi_django.revert.conflicts.found import Child, Found, Holder, Parent
from bemi_django.revert.draft import Draft, Identity, identity
from bemi_django.revert.order import Edge
from bemi_django.revert.plan import Kind

_NO_ACTION, _CASCADE = "a", "c"
# ON DELETE CASCADE, SET NULL, SET DEFAULT: the database changes the rows that refer to a deleted one.
_FOLLOWS = ("c", "n", "d")


class Surroundings:
    """The rows that the steps depend on; read once, and checked again for each selection of steps."""

    def __init__(self, cursor: Any, catalog: LiveCatalog, drafts: list[Draft]) -> None:
        self._catalog = catalog
        by_table: dict[Name, list[Draft]] = defaultdict(list)
        for draft in drafts:
            by_table[draft.table.name].append(draft)
        self._by_table = by_table
        self._owners = {draft.identity: draft for draft in drafts if draft.identity is not None}
        self._holders = list(self._read_holders(cursor))
        self._parents = list(self._read_parents(cursor))
        self._children = list(self._read_children(cursor))
        self._equal_keys = EqualKeys(cursor, catalog)
        self._read_equal_keys(drafts)

    def check(self, active: set[Draft]) -> tuple[list[Found], list[Edge[Draft]]]:
        """Return the conflicts of the active steps, if only these are taken, and the edges of their order."""
        found: list[Found] = []
        edges: list[Edge[Draft]] = []
        self._check_uniques(active, found, edges)
        self._check_parents(active, found, edges)
        self._check_children(active, found, edges)
        return found, edges

    def _check_uniques(self, active: set[Draft], found: list[Found], edges: list[Edge[Draft]]) -> None:
        for draft, unique, holder, why, is_plain in self._holders:
            owner = self._owners.get(holder)
            if draft not in active or owner is draft:
                continue
            if owner is not None and owner in active and owner.changes(unique.columns):
                is_hard = not unique.is_deferrable
                breakable = _nullable(owner, unique.columns) if is_plain else ()
                edges.append(Edge(owner, draft, is_hard, owner, breakable))
                continue
            kind: Kind = "key_taken" if unique.is_primary else "unique"
            columns = unique.columns if is_plain else ()
            found.append(Found(draft, kind, why, columns))

    def _check_parents(self, active: set[Draft], found: list[Found], edges: list[Edge[Draft]]) -> None:
        providers = self._providers(active)
        for draft, reference, parent in self._parents:
            if draft not in active:
                continue
            owner = self._owners.get(parent) if parent is not None else None
            stays = owner is None or owner not in active or not owner.changes(reference.parent_columns)
            if parent is not None and stays:
                continue
            wanted = reference, self._equal_keys.of(*given(draft, reference))
            if wanted not in providers:
                why = wording.no_parent(reference.parent)
                found.append(Found(draft, "missing_parent", why, reference.columns))
            is_hard = not reference.is_deferrable
            for provider in providers.get(wanted, ()):
                edges.append(Edge(provider, draft, is_hard, draft, _nullable(draft, reference.columns)))

    def _check_children(self, active: set[Draft], found: list[Found], edges: list[Edge[Draft]]) -> None:
        for draft, reference, child in self._children:
            owner = self._owners.get(child)
            if draft not in active or owner is draft or self._stays_equal(draft, reference):
                continue
            if owner is not None and owner in active and owner.changes(reference.columns):
                if _is_passed_on(draft, reference):
                    continue
                is_hard = not reference.is_deferrable or reference.on_delete != _NO_ACTION
                edges.append(Edge(owner, draft, is_hard, owner, _nullable(owner, reference.columns)))
                continue
            follows = draft.step.action == "delete" and reference.on_delete in _FOLLOWS
            why = wording.referenced(reference.child, follows)
            columns = reference.parent_columns
            found.append(Found(draft, "referenced", why, columns, follows, reference.child))

    def passed_on(self, parent: Draft) -> Iterator[tuple[Reference, Draft]]:
        """Yield the steps whose rows ``ON UPDATE CASCADE`` changes along with that of a step."""
        for draft, reference, child in self._children:
            owner = self._owners.get(child)
            if draft is parent and owner is not None and _is_passed_on(parent, reference):
                yield reference, owner

    def _providers(self, active: set[Draft]) -> dict[tuple[Reference, tuple[str, ...]], list[Draft]]:
        """Return the steps that restore rows which others may refer to."""
        found: dict[tuple[Reference, tuple[str, ...]], list[Draft]] = defaultdict(list)
        for reference in self._catalog.references:
            for draft in self._by_table.get(reference.parent, ()):
                if draft in active and draft.gives(reference.parent_columns):
                    found[written(draft, reference)].append(draft)
        return found

    def _read_equal_keys(self, drafts: list[Draft]) -> None:
        moved = [
            (draft, reference)
            for draft, reference, _ in self._children
            if reference.on_update == _NO_ACTION and draft.gives(reference.parent_columns)
        ]
        self._equal_keys.read(
            (held(*one) for one in moved), (written(*one) for one in moved), is_of_parents=True
        )
        moving = {draft.identity for draft, _ in moved}
        lost = [
            given(draft, reference)
            for draft, reference, parent in self._parents
            if parent is None or parent in moving
        ]
        if lost:
            self._equal_keys.read(lost, self._providers(set(drafts)))

    def _stays_equal(self, draft: Draft, reference: Reference) -> bool:
        """Tell whether the row keeps a key that those which refer to it take for the same."""
        if reference.on_update != _NO_ACTION or not draft.gives(reference.parent_columns):
            return False
        return self._equal_keys.of(*held(draft, reference)) == written(draft, reference)[1]

    def _read_holders(self, cursor: Any) -> Iterator[Holder]:
        for name, drafts in self._by_table.items():
            table = self._catalog.tables[name]
            for unique in table.uniques:
                writers = [draft for draft in drafts if draft.gives(unique.columns)]
                rows = [_part(draft, draft.target, unique.columns) for draft in writers]
                columns, limit = unique.columns, None if unique.is_exclusion else 1
                found = _find(
                    cursor, rows, table, columns, name, columns, unique.equalities, table.key, limit
                )
                for number, key in found:
                    why = wording.taken(unique.columns)
                    yield Holder(writers[number], unique, identity(table, key), why)
            yield from _read_partials(cursor, table, drafts)

    def _read_parents(self, cursor: Any) -> Iterator[Parent]:
        for reference in self._catalog.references:
            drafts = self._by_table.get(reference.child, ())
            writers = [draft for draft in drafts if draft.gives(reference.columns)]
            rows = [_part(draft, draft.target, reference.columns) for draft in writers]
            parents = _find(
                cursor,
                rows,
                self._catalog.tables.get(reference.child),
                reference.columns,
                reference.parent,
                reference.parent_columns,
                reference.equalities,
                self._key(reference.parent),
            )
            known = {number: self._identity(reference.parent, key) for number, key in parents}
            for number, draft in enumerate(writers):
                yield Parent(draft, reference, known.get(number))

    def _read_children(self, cursor: Any) -> Iterator[Child]:
        for reference in self._catalog.references:
            drafts = self._by_table.get(reference.parent, ())
            takers = [draft for draft in drafts if draft.changes(reference.parent_columns)]
            rows = [_part(draft, draft.live, reference.parent_columns) for draft in takers]
            # One more than the plan has is enough to know that there is another.
            limit = len(self._by_table.get(reference.child, ())) + 1
            children = _find(
                cursor,
                rows,
                self._catalog.tables.get(reference.parent),
                reference.parent_columns,
                reference.child,
                reference.columns,
                swapped(reference.equalities),
                self._key(reference.child),
                limit,
            )
            for number, key in children:
                yield Child(takers[number], reference, self._identity(reference.child, key))

    def _key(self, name: Name) -> tuple[str, ...]:
        table = self._catalog.tables.get(name)
        return table.key if table else ()

    def _identity(self, name: Name, key: dict[str, Any]) -> Identity:
        table = self._catalog.tables.get(name)
        return identity(table, key) if table else (name, ())


def _is_passed_on(parent: Draft, reference: Reference) -> bool:
    """Tell whether the database changes the rows that refer to one that a step changes."""
    return parent.step.action == "update" and reference.on_update == _CASCADE


def _read_partials(cursor: Any, table: LiveTable, drafts: list[Draft]) -> Iterator[Holder]:
    writers = [draft for draft in drafts if draft.step.action in ("insert", "update")]
    rows = [draft.target or {} for draft in writers]
    for partial in table.partials if writers else ():
        # Any change of the row that holds the value may release it.
        unique = Unique(partial.name, table.columns, False, False, False, ())
        for number, key in find_partial(cursor, table, partial, rows):
            why = wording.taken_in(partial.name)
            yield Holder(writers[number], unique, identity(table, key), why, is_plain=False)


def _find(
    cursor: Any, rows: list[dict[str, Any]], source: LiveTable | None, *arguments: Any
) -> Iterable[tuple[int, dict[str, Any]]]:
    return find_keys(cursor, rows, source, *arguments) if rows and source is not None else ()


def _part(draft: Draft, row: dict[str, Any] | None, columns: tuple[str, ...]) -> dict[str, Any]:
    return draft.table.readable({column: (row or {}).get(column) for column in columns})


def _nullable(draft: Draft, columns: tuple[str, ...]) -> tuple[str, ...]:
    if not draft.table.has_key:
        # Without a key, a second statement would not find the row: its ctid has changed.
        return ()
    return tuple(column for column in columns if column not in draft.table.required)
