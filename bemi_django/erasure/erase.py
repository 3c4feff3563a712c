"""Erase the values of a person from the log, in batches that can be interrupted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from bemi_django import conf, destinations
from bemi_django.encryption.configured import configured_keys
from bemi_django.encryption.key_table import forget_keys
from bemi_django.erasure import copies, records, rewriting
from bemi_django.erasure.contexts import ContextEraser
from bemi_django.erasure.plan import ErasurePlan
from bemi_django.erasure.records import ErasedRow, Erasure
from bemi_django.erasure.remains import Remains
from bemi_django.erasure.targets.target import Target
from bemi_django.erasure.values import is_looked_for
from bemi_django.handlers.log_history import SourceLog
from bemi_django.log.conditions import as_jsonb, value_of
from bemi_django.models import Change
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

#: Changes that are rewritten in one transaction, and transactions whose contexts are.
BATCH, TRANSACTIONS = 100, 200

#: Called with what is being done and the part of it that is done, from 0 to 1.
Watch = Callable[[str, float], None]


def erase(plan: ErasurePlan, who: Mapping[str, Any], watch: Watch) -> list[ErasedRow]:
    """Erase what a plan names.

    Keys with which values are encrypted are deleted first. Everything that is needed to continue is in the
    database of the log, so the process may be killed at any moment: the same plan made again goes on with it.

    Args:
        plan: The plan.
        who: Who does it, and why, as ``operator_context()`` returns it.
        watch: Called as the work goes on.

    Returns:
        What was erased of each row.
    """
    alias = conf.destination()
    log = installed.log(alias)
    with closed_cursor(alias) as cursor:
        erasure = plan.interrupted or records.begin(cursor, plan.asked, who, plan.targets, plan.values)
        _forget_keys(cursor, erasure, plan)
    run = _Eraser(alias, log, erasure, plan, watch)
    with _alone(plan):
        # The rows come last: what is looked for elsewhere is found by them.
        run.erase_contexts()
        run.erase_archive()
        run.erase_rows()
    with closed_cursor(alias) as cursor:
        return list(records.end(cursor, log, erasure.number, SourceLog(plan.source).history()))


def erase_keys(plan: ErasurePlan, who: Mapping[str, Any]) -> list[ErasedRow]:
    """Delete the keys with which values are encrypted, in one transaction, and leave all else as it is.

    Args:
        plan: The plan; no run of it was interrupted.
        who: As for :func:`erase`.

    Returns:
        The row whose key it was.
    """
    alias = conf.destination()
    log = installed.log(alias)
    with closed_cursor(alias) as cursor:
        erasure = records.begin(cursor, plan.asked, who, plan.targets, set())
        _forget_keys(cursor, erasure, plan)
        return list(records.end(cursor, log, erasure.number, SourceLog(plan.source).history()))


def _forget_keys(cursor: Any, erasure: Erasure, plan: ErasurePlan) -> None:
    texts = {text for target in erasure.targets for text in target.texts}
    newest = Remains(erasure.targets, plan.key).of_key(erasure.targets[0].spans[0].key, texts)
    # In the same transaction, unless another destination has them.
    with closed_cursor(destinations.of_keys()) as keys:
        number = forget_keys(keys, plan.subjects, configured_keys().store)
    records.note_keys(cursor, erasure, number, newest)


@contextmanager
def _alone(plan: ErasurePlan) -> Iterator[None]:
    """Keep other processes from archiving or importing a month meanwhile."""
    if plan.archive is None:
        yield
        return
    # Its package need not be installed.
    from bemi_django.archive.live_log import open_log

    with open_log():
        yield


class _Eraser:
    """An erasure at work."""

    def __init__(self, alias: str, log: str, erasure: Erasure, plan: ErasurePlan, watch: Watch) -> None:
        self._alias = alias
        self._log = log
        self._erasure = erasure
        self._plan = plan
        self._watch = watch
        self._remains = Remains(erasure.targets, plan.key)
        self._keys = {key for key in self._remains.hashes if is_looked_for(key)}
        self._contexts = ContextEraser({*erasure.values, *self._keys})

    def erase_contexts(self) -> None:
        """Take the values out of contexts: of transactions that wrote them, and of what the person did."""
        for target in self._erasure.targets:
            for transactions in _transactions(self._changes(target.condition)):
                self._erase_contexts_of(target, transactions)
        if self._plan.user is not None:
            did = Q(context__contains=as_jsonb({"user_id": self._plan.user}))
            changes = self._changes(did & Q(database=self._erasure.targets[0].place.database))
            for ids in _pages(changes, BATCH):
                self._rewrite_contexts(ids, (), is_theirs=True)
        with closed_cursor(self._alias) as cursor:
            copies.erase_letters_with(cursor, self._log, self._erasure.values, self._plan.held)
            copies.erase_findings_with(cursor, self._keys)

    def erase_archive(self) -> None:
        """Take the values out of the months of the archive."""
        if self._plan.archive is None:
            return
        # Its package need not be installed.
        from bemi_django.erasure.archived.files import ArchivePart, erase_archive

        job = ArchivePart(
            self._plan.archive,
            self._erasure.targets,
            self._remains,
            self._contexts,
            self._erasure.number,
            self._log,
            self._plan.user,
            self._plan.held,
        )
        erase_archive(job, self._watch)

    def erase_rows(self) -> None:
        """Take the values out of the rows."""
        for target in self._erasure.targets:
            changes = self._changes(target.left)
            total, done = changes.count(), 0
            for ids in _pages(changes, BATCH):
                self._erase_rows(target, ids)
                done += len(ids)
                self._watch(target.name, min(done / max(total, done), 0.999))
            self._watch(target.name, 1.0)

    def _erase_rows(self, target: Target, ids: Sequence[Any]) -> None:
        with closed_cursor(self._alias) as cursor:
            old = rewriting.lock(cursor, self._log, ids)
            left = self._remains.of_changes(cursor, target, old)
            rewriting.rewrite(cursor, self._log, old, [change for change, _ in left])
            copies.erase_copies_of(cursor, [change.id for change in old])
            rows: dict[str, tuple[int, set[str]]] = defaultdict(lambda: (0, set()))
            for change, columns in left:
                number, names = rows[change.primary_key or ""]
                rows[change.primary_key or ""] = number + 1, names | set(columns)
                if change.previous_primary_key is not None:
                    number, names = rows[change.previous_primary_key]
                    rows[change.previous_primary_key] = number, names | set(columns)
            records.count(cursor, self._erasure.number, target, rows)

    def _erase_contexts_of(self, target: Target, transactions: Sequence[tuple[Any, ...]]) -> None:
        numbers, times, positions = (list(set(column)) for column in zip(*transactions, strict=True))
        here = within = Q(transaction_id__in=numbers, committed_at__in=times)
        own = self._changes(target.condition & within)
        statements = {sql for sql in _distinct(own, "SQL") if isinstance(sql, str)}
        # A request has one context, whatever its transactions are.
        for request in _distinct(own, "request_id"):
            here |= Q(context__contains=as_jsonb({"request_id": request}))
        changes = self._changes(Q(database=target.place.database) & here)
        contexts = changes.values_list(Cast("context", TextField()), flat=True).distinct()
        with closed_cursor(self._alias) as cursor:
            copies.erase_letters_at(
                cursor, self._log, target.place, positions, self._contexts, statements, self._plan.held
            )
        if any(self._contexts.erased(context, statements) != context for context in contexts.iterator()):
            for ids in _pages(changes, BATCH):
                self._rewrite_contexts(ids, statements, is_theirs=False)

    def _rewrite_contexts(self, ids: Sequence[Any], statements: Collection[str], *, is_theirs: bool) -> None:
        erased = self._contexts.erased
        with closed_cursor(self._alias) as cursor:
            old = rewriting.lock(cursor, self._log, ids)
            new = [
                change._replace(context=erased(change.context, statements, is_theirs=is_theirs))
                for change in old
            ]
            rewriting.rewrite(cursor, self._log, old, new)

    def _changes(self, condition: Q) -> QuerySet[Change]:
        return self._plan.without_held(Change.objects.using(self._alias).filter(condition).order_by())


def _distinct(changes: QuerySet[Change], key: str) -> list[Any]:
    """Return the values that contexts have under a key."""
    found = changes.annotate(found=value_of("context", key)).values_list("found", flat=True).distinct()
    return [value for value in found if value is not None]


def _transactions(changes: QuerySet[Change]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the transactions of changes: their ids, times and positions, some at once."""
    found = (
        changes.values_list("transaction_id", "committed_at", "position")
        .distinct()
        .order_by("transaction_id")
    )
    page: list[tuple[Any, ...]] = []
    for row in found.iterator():
        page.append(row)
        if len(page) == TRANSACTIONS:
            yield page
            page = []
    if page:
        yield page


def _pages(changes: QuerySet[Change], size: int) -> Iterator[list[Any]]:
    """Yield the ids of changes in their order, so many at once."""
    last: Any = None
    while True:
        later = changes if last is None else changes.filter(pk__gt=last)
        ids = list(later.order_by("pk").values_list("pk", flat=True)[:size])
        if not ids:
            return
        yield ids
        last = ids[-1]
