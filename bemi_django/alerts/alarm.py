"""The handler of a rule: it is called with the changes that the rule is about, and tells people of some."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q

from bemi_django import conf
from bemi_django.alerts import configured, saved_filter
from bemi_django.alerts.channels import send
from bemi_django.alerts.notice import notice_of
from bemi_django.handlers.registry import CHANGING, ChangingHandlers, Handler
from bemi_django.log import conditions
from bemi_django.log.change import ChangeQuerySet
from bemi_django.log.places import table_name
from bemi_django.models import AlertRule, Change
from bemi_django.wire.ids import change_id, sequence_in

_ROWS = ("CREATE", "UPDATE", "DELETE", "TRUNCATE")
_FILTERED = (*_ROWS, "SKIPPED", "GAP", "EVENT")
#: Operations of which filters tell that name them: the rows of a baseline are no news.
TOLD = (*_FILTERED, "BASELINE")
#: Attempts after the first one: more than half an hour of them.
_RETRIES = 12


class Alarm:
    """Tells people of changes by a rule, once in each transaction.

    It remembers the transaction that it is in, so that large ones are not counted again for each change.
    """

    def __init__(self, rule: AlertRule) -> None:
        self.rule = rule
        self._transaction: tuple[object, ...] | None = None
        self._number, self._last = 0, UUID(int=0)

    def __eq__(self, other: object) -> bool:
        """Return whether it does the same: its rule has the same values."""
        return isinstance(other, Alarm) and _values(self.rule) == _values(other.rule)

    def __hash__(self) -> int:
        return hash(self.rule.pk)

    def __call__(self, change: Change) -> None:
        """Tell people of a change, if it is the one of its transaction by which the rule applies."""
        if self._is_due(change):
            send(self.rule, notice_of(self.rule, change))

    def narrow(self, changes: ChangeQuerySet) -> ChangeQuerySet:
        """Return those of the changes that the rule is about."""
        kind = AlertRule.Kind
        if self.rule.kind == kind.FILTER:
            return saved_filter.narrowed(changes, self.rule)
        if self.rule.kind == kind.SUPERUSER:
            return changes.filter(_superuser())
        changes = changes.exclude(conditions.bookkeeping())
        if self.rule.kind == kind.OUTSIDE:
            return changes.filter(conditions.outside(), operation__in=_ROWS)
        return changes.filter(operation__in=("DELETE", "TRUNCATE"))

    def _is_due(self, change: Change) -> bool:
        if change.operation == "TRUNCATE" and self.rule.kind == AlertRule.Kind.DELETIONS:
            # The log does not have the rows that it has removed.
            return True
        due = self.rule.threshold + 1 if self.rule.kind == AlertRule.Kind.DELETIONS else 1
        transaction = (change.database, change.transaction_id, change.position)
        if self._transaction != transaction:
            earlier = self.narrow(_transaction_of(change)).filter(pk__lt=change.pk)
            self._number = earlier.order_by()[:due].count() + 1
            self._transaction = transaction
        elif change.pk > self._last:
            # Otherwise it is the same one again, after a failure.
            self._number += 1
        self._last = change.pk
        return self._number == due


def handlers_of(alias: str) -> list[Handler]:
    """Return the handlers of the rules that are active. They apply to the changes of each database."""
    rules = AlertRule.objects.using(conf.destination()).filter(is_active=True)
    return [_handler(Alarm(rule)) for rule in rules]


def _handler(alarm: Alarm) -> Handler:
    rule = alarm.rule
    operations: tuple[str, ...] = _ROWS
    if rule.kind == AlertRule.Kind.FILTER:
        named = saved_filter.parameters_of(rule.filter).get("operation")
        operations = (named,) if named in TOLD else _FILTERED
    name = f"{CHANGING}{rule.pk}"
    return Handler(name, alarm, None, (), operations, None, None, _RETRIES, False, alarm.narrow)


#: Where the handlers of rules are found.
ALARMS = ChangingHandlers(configured.are_on, handlers_of)


def _superuser() -> Q:
    """Return the condition that a change makes somebody a superuser, who was none before."""
    users: Any = get_user_model()
    try:
        field: Any = users._meta.get_field("is_superuser")
    except FieldDoesNotExist:
        return Q(pk__in=[])
    # The field may be in the table of a parent model.
    schema, table = table_name(field.model)
    is_set = Q(table=table, operation__in=("CREATE", "UPDATE"), **({"schema": schema} if schema else {}))
    return is_set & Q(after__contains={field.column: True}) & ~Q(before__contains={field.column: True})


def _transaction_of(change: Change) -> ChangeQuerySet:
    """Return the changes of the same transaction: ids begin with the position of the commit."""
    sequence = sequence_in(change.pk.bytes)
    first, last = (UUID(bytes=change_id(number, 0, 0)) for number in (sequence, sequence + 8))
    found: ChangeQuerySet = Change.objects.using(conf.destination()).filter(
        id__gte=first, id__lt=last, transaction_id=change.transaction_id, database=change.database
    )
    return found


def _values(rule: AlertRule) -> tuple[Any, ...]:
    return tuple(getattr(rule, field.attname) for field in rule._meta.concrete_fields)
