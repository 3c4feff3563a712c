"""``AuditAction``: the changes of one transaction, or of neighbouring ones of one request or run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from bemi_django.models import Change
from bemi_django.wire.ids import sequence_in

#: The number of changes of an action that a page shows.
SHOWN = 20


class TransactionName(NamedTuple):
    """What tells transactions apart. Events that belong to none have the id 0, and a number of their own."""

    sequence: int
    database: str
    transaction_id: int


class ChangeKind(NamedTuple):
    """What is alike in an action: changes of one operation in one table."""

    database: str
    schema: str
    table: str
    operation: str


class CountedChanges(NamedTuple):
    """Changes of a transaction that were counted without being read.

    Attributes:
        changes: How many there are of each kind.
        rows: How many rows they are of, where it is known: not if a key changed. A change of a row without a
            key counts as one of another row.
    """

    changes: Counter[ChangeKind]
    rows: Counter[ChangeKind]


class AuditAction(NamedTuple):
    """What one transaction did, or neighbouring ones of one request, or of one run of a task or a command.

    Attributes:
        changes: The first of its changes, in commit order, at most ``SHOWN``.
        counts: How many changes there are of each kind.
        is_cut: Whether there are more changes than were counted.
        transactions: The number of its transactions.
        rows: How many rows the changes of a kind are of, where they were not all read and it is known.
        matches: The ids of changes that match the filters of the list, as far as the search has seen them;
            none if all do.
    """

    changes: list[Change]
    counts: Counter[ChangeKind]
    is_cut: bool = False
    transactions: int = 1
    rows: Mapping[ChangeKind, int] = MappingProxyType({})
    matches: frozenset[UUID] = frozenset()

    @property
    def total(self) -> int:
        """The number of its changes, as far as they were counted."""
        return sum(self.counts.values())

    @property
    def is_whole(self) -> bool:
        """Whether ``changes`` are all of its changes."""
        return self.total == len(self.changes)


def kind_of(change: Change) -> ChangeKind:
    """Return the kind of a change."""
    return ChangeKind(change.database, change.schema, change.table, change.operation)


def action_of(changes: list[Change]) -> AuditAction:
    """Return the action that consists of some changes."""
    transactions = set(map(transaction_of, changes))
    return AuditAction(changes, Counter(map(kind_of, changes)), transactions=len(transactions))


def transaction_of(change: Change) -> TransactionName:
    """Return the name of a change's transaction."""
    return TransactionName(sequence_in(change.pk.bytes), change.database, change.transaction_id)
