"""The changes that are about a person: of their row, of rows that belong to it, and those that they made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, Q, TextField, Value, When

from bemi_django import conf
from bemi_django.disclosure.keys_in_rows import holds_value
from bemi_django.encryption.decryption import Decrypter, encrypted_columns
from bemi_django.erasure.former_tables import with_former_tables
from bemi_django.erasure.objects import target_of_key, targets_of_instance, user_key
from bemi_django.erasure.related.dependents import Dependents
from bemi_django.erasure.targets.sides import sides_of
from bemi_django.erasure.targets.target import SIDES, Target
from bemi_django.log.conditions import as_jsonb, in_table
from bemi_django.log.live.column_names import ColumnNames
from bemi_django.log.live.name_catalog import column_names
from bemi_django.log.lossless_json import dumps, loads
from bemi_django.log.places import Place, model_of
from bemi_django.masking.actions import DROP, Action
from bemi_django.masking.contexts import MASK, ContextMasks
from bemi_django.masking.patterns import parse
from bemi_django.masking.references import REFERENCES, referring
from bemi_django.masking.rules import Rule, Rules
from bemi_django.masking.sql_literals import redact_literals
from bemi_django.models import Change
from bemi_django.schema.search_path import closed_cursor
from bemi_django.wire import INVALID_KEY, SQL_KEY

#: Changes that are read at once.
_CHUNK = 200
OWN, RELATED, MADE = "own", "related", "made"


class DisclosedChange(NamedTuple):
    """A change as the person gets it.

    Attributes:
        relation: Whether it is of their ``own`` row, of a ``related`` one, or ``made`` by them.
        change: The change.
        before: The row before it, without what is masked; what is encrypted is decrypted.
        after: The row after it, in the same way.
        key: The key of the row, or the mask.
        context: The context, without what is masked and without literals of SQL.
    """

    relation: str
    change: Change
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    key: str | None
    context: Mapping[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """All of it by name, for JSON."""
        change = self.change
        return {
            "relation": self.relation,
            "id": str(change.pk),
            "committed_at": _in_utc(change.committed_at),
            "operation": change.operation,
            "database": change.database,
            "table": f"{change.schema}.{change.table}",
            "primary_key": self.key,
            "before": self.before,
            "after": self.after,
            "context": self.context,
            "unavailable": change.unavailable,
        }


class Disclosure:
    """What the log has of a person.

    Args:
        subject: Their object, or the table and the key of their row.
        alias: Alias of its database.
        related: Tables whose rows belong to it, beside those that are deleted with it.

    Raises:
        BemiError: No row of such a table refers to it.
    """

    def __init__(
        self, subject: models.Model | tuple[Place, str], alias: str, related: Collection[str] = ()
    ) -> None:
        if isinstance(subject, tuple):
            instance, own = None, [target_of_key(*subject, alias)]
        else:
            instance, own = subject, targets_of_instance(subject, alias)
        #: The object; or the table of the row, and its last key as the log has it.
        self.subject = subject if instance is not None else (own[0].place, own[0].spans[0].key)
        everything = with_former_tables(Dependents(alias, related).with_related(own, instance), alias)
        own = with_former_tables(own, alias)
        records = [
            in_table(one.place) & Q(operation="ERASED", primary_key=one.spans[0].key)
            for one in own
            if one.spans
        ]
        self._own = reduce(or_, [*(one.condition for one in own), *records])
        self._related = reduce(or_, [one.condition for one in everything])
        self._targets: dict[Place, Target] = {}
        for one in everything:
            known = self._targets.get(one.place)
            self._targets[one.place] = one if known is None else known.joined(one)
        user = user_key(instance)
        self._made = Q(pk__in=[])
        if user is not None:
            self._made = Q(database=own[0].place.database, context__contains=as_jsonb({"user_id": user}))
        about = self._own | self._related | self._made
        self._log = Change.objects.using(conf.destination()).filter(about)
        self._rules, self._contexts = _masks()
        self._referring = _referring(self._rules, alias)
        self._names: dict[Place, ColumnNames] = {}
        #: Whether columns of tables are masked, under one of the names that they have had.
        self._masked: dict[tuple[Place, str], bool] = {}
        self._decrypter = Decrypter(loads)

    @property
    def targets(self) -> Collection[Target]:
        """The changes of their rows, by table."""
        return self._targets.values()

    @property
    def is_empty(self) -> bool:
        """Whether the log has nothing of them."""
        return not self._log.exists()

    def changes(self) -> Iterator[DisclosedChange]:
        """Yield the changes in commit order, a few of them in memory."""
        relation = Case(
            When(self._own, then=Value(OWN)),
            When(self._related, then=Value(RELATED)),
            default=Value(MADE),
            output_field=TextField(),
        )
        # A cursor of the server lives in a transaction.
        with transaction.atomic(using=conf.destination()):
            for change in self._log.annotate(relation=relation).order_by("id").iterator(chunk_size=_CHUNK):
                yield self._disclosed(change)

    def _disclosed(self, change: Any) -> DisclosedChange:
        # What they did to rows of others must not tell them what is encrypted there.
        is_theirs = change.relation != MADE
        rows = self._decrypter.rows(change) if is_theirs else None
        hidden = encrypted_columns(change) if rows is None else rows.unreadable
        images = {"before": change.before, "after": change.after}
        sides: Collection[str] = SIDES
        if change.relation == RELATED:
            # A row may come from somebody else, or go to them: then they get their side of the change.
            sides = sides_of(self._targets[change.place], change.pk, change.primary_key, images)
        if rows is not None:
            images = {"before": rows.before, "after": rows.after}
        old, new = (images[side] if side in sides else {} for side in SIDES)
        before, after = (self._row(change, row, hidden) for row in (old, new))
        masked = {column for column in {**old, **new} if self._is_masked(change, column)}
        values = [row[column] for row in (old, new) for column in masked & row.keys()]
        keys = change.primary_key, change.previous_primary_key
        key = MASK if change.primary_key is not None and holds_value(keys, values) else change.primary_key
        context = loads(self._contexts.masked(dumps(change.context).encode()).decode())
        if isinstance(context.get(SQL_KEY), str):
            # A statement may have values of others in it.
            context[SQL_KEY] = redact_literals(context[SQL_KEY], MASK)
        if INVALID_KEY in context:
            # So may a text that is no context.
            context[INVALID_KEY] = MASK
        return DisclosedChange(change.relation, change, before, after, key, context)

    def _row(self, change: Change, row: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
        return {
            column: MASK
            if column in hidden or (value is not None and self._is_masked(change, column))
            else value
            for column, value in row.items()
        }

    def _is_masked(self, change: Change, column: str) -> bool:
        place: Place = change.place
        if (place, column) not in self._masked:
            self._masked[place, column] = any(
                self._rules.is_masked([place[1:]], name) or (*place[1:], name) in self._referring
                for name in self._names_of(place).alike(column)
            )
        return self._masked[place, column]

    def _names_of(self, place: Place) -> ColumnNames:
        if place not in self._names:
            self._names[place] = column_names(place, model_of(place))
        return self._names[place]


def _masks() -> tuple[Rules, ContextMasks]:
    """Return the rules of ``BEMI_MASKED_FIELDS``, and what applies them to contexts."""
    rules: Sequence[Rule] = [Rule(parse(pattern), Action(DROP)) for pattern in conf.masked_fields()]
    masks = Rules(rules, has_defaults=False)
    return masks, ContextMasks(masks)


def _referring(rules: Rules, alias: str) -> set[tuple[str, str, str]]:
    """Return the columns that refer to masked ones, and so have the same values."""
    with closed_cursor(alias) as cursor:
        cursor.execute(REFERENCES, [None])
        return referring(rules, cursor.fetchall())


def _in_utc(moment: datetime) -> str:
    aware = moment if settings.USE_TZ else moment.astimezone()
    return aware.astimezone(timezone.utc).isoformat()
