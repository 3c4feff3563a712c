"""What an erasure is going to do, before it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, models
from django.db.models import QuerySet

from bemi_django import conf, destinations
from bemi_django.encryption.subject_key import SubjectRow
from bemi_django.erasure import records
from bemi_django.erasure.former_tables import with_former_tables
from bemi_django.erasure.live_keys import require_gone
from bemi_django.erasure.objects import target_of_key, targets_of_instance, user_key
from bemi_django.erasure.records import Erasure
from bemi_django.erasure.related.dependents import Dependents
from bemi_django.erasure.remains import Remains
from bemi_django.erasure.targets.target import Target
from bemi_django.erasure.values import encrypted_elsewhere, is_encrypted_in, subjects_with_key, values_of
from bemi_django.exceptions import BemiError
from bemi_django.log.places import Place
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from bemi_django.retention.rules import holds
from bemi_django.retention.table_rule import TableRule
from bemi_django.schema import installed
from bemi_django.schema.search_path import closed_cursor

if TYPE_CHECKING:
    from bemi_django.archive.location import Location

_IS_OWNER = "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = _bemi.log_v1()"
# Executed with the path of the session, because the query of the changes is: all names have their schema.
_COLUMNS = """
SELECT pg_catalog.array_agg(DISTINCT k.name ORDER BY k.name) FROM ({rows}) r
CROSS JOIN LATERAL pg_catalog.jsonb_object_keys(r.before OPERATOR(pg_catalog.||) r.after) k (name)
WHERE k.name OPERATOR(pg_catalog.<>) ALL (%s::pg_catalog.text[])
"""


class PlannedTable(NamedTuple):
    """What is to be erased in a table: the number of changes and of rows, and the columns."""

    target: Target
    changes: int
    rows: int
    columns: list[str]

    def __str__(self) -> str:
        what = f"{self.changes} changes of {self.rows} rows" if self.changes else "nothing left to erase"
        columns = f": {', '.join(self.columns)}" if self.changes else ""
        reason = f" ({', '.join(self.target.reasons)})" if self.target.reasons else ""
        return f"{self.target.name}{reason}: {what}{columns}"


class ErasurePlan(NamedTuple):
    """What is to be erased.

    Attributes:
        source: The alias of the database of the rows.
        asked: What the command was asked for, by which an interrupted run is found.
        targets: The changes.
        values: The values that are looked for in contexts.
        key: The key of hashes.
        held: What must stay as it is.
        user: The key of the person, if they are a user.
        interrupted: The run that this goes on with.
        left: Tables that refer to the rows, and are left as they are, with the columns.
        passed: How many rows referred to others, too, or may have, by table: what they had then stays.
        archive: The archive, if there is one.
        subjects: Rows that have a key with which values are encrypted: the keys are deleted.
        shared: Rows whose keys stay, because values of others are encrypted with them.
    """

    source: str
    asked: dict[str, Any]
    targets: list[Target]
    values: set[str]
    key: bytes | None
    held: list[TableRule]
    user: Any = None
    interrupted: Erasure | None = None
    left: Mapping[str, tuple[str, ...]] = {}
    passed: Mapping[str, int] = {}
    archive: Location | None = None
    subjects: Sequence[SubjectRow] = ()
    shared: Sequence[SubjectRow] = ()

    def tables(self) -> Iterator[PlannedTable]:
        """Yield what is to be erased in each table."""
        for target in self.targets:
            changes = Change.objects.using(conf.destination()).filter(target.left).order_by()
            rows = changes.values("primary_key").distinct().count()
            query, parameters = changes.values("before", "after").query.sql_with_params()
            with connections[conf.destination()].cursor() as cursor:
                cursor.execute(_COLUMNS.format(rows=query), [*parameters, list(target.kept)])
                yield PlannedTable(target, changes.count(), rows, cursor.fetchone()[0] or [])

    def said_of_keys(self) -> Iterator[str]:
        """Yield what is to be said of keys that are deleted, and of those that are not."""
        if number := len(self.subjects):
            columns = ", ".join(f"{table}.{column}" for table, column in encrypted_elsewhere(self.subjects))
            where = f", also in rows that stay ({columns})" if columns else ""
            yield (
                f"{number} encryption key{'s' if number > 1 else ''}: what is encrypted with "
                f"{'them' if number > 1 else 'it'} can no longer be read{where}"
            )
        if number := len(self.shared):
            yield (
                f"not the encryption keys of {number} rows, which encrypt values of others, too"
                if number > 1
                else "not the encryption key of a row, which encrypts values of others, too"
            )

    def without_held(self, changes: QuerySet[Change]) -> QuerySet[Change]:
        """Return changes without those that ``BEMI_LEGAL_HOLD`` holds."""
        for rule in self.held:
            names = {"table": rule.table, "schema": rule.schema}
            changes = changes.exclude(**{name: value for name, value in names.items() if value is not None})
        return changes


def plan_erasure(
    subject: models.Model | tuple[Place, str],
    alias: str,
    *,
    related: Collection[str] | None = None,
    archive: Location | None = None,
) -> ErasurePlan:
    """Find out what is to be erased of an object.

    Args:
        subject: The object, or the table and the key of its row.
        alias: Alias of its database.
        related: None for the object alone; otherwise the rows that are deleted with it belong to it, and
            those that refer to it in these tables.
        archive: The archive, if there is one.

    Raises:
        BemiError: The role may not do this, a legal hold is in the way, or a row has to be deleted first.
    """
    destinations.require_choice("whose log to erase from")
    destination = conf.destination()
    with closed_cursor(destination) as cursor:
        installed.require(cursor, "erased_change_v1")
        cursor.execute(_IS_OWNER)
        if cursor.fetchone() != (True,):
            raise BemiError("only the owner of the log may erase what is in it: run the command as that role")
    if isinstance(subject, tuple):
        instance, targets = None, [target_of_key(*subject, alias, archive)]
    else:
        instance, targets = subject, targets_of_instance(subject, alias, archive)
    newest = targets[0].spans[0].key
    asked = {"row": [*targets[0].place, newest], "related": None if related is None else sorted(related)}
    with closed_cursor(destination) as cursor:
        interrupted = records.find(cursor, asked)
    interrupted = interrupted or _find_by_key(targets[0], asked["related"])
    left: Mapping[str, tuple[str, ...]] = {}
    passed: dict[str, int] = {}
    if interrupted is not None:
        targets = interrupted.targets
    else:
        if related is not None:
            relations = Dependents(alias, related)
            targets = relations.with_related(targets, instance)
            left = relations.left
            passed = {name: len(keys) for name, keys in relations.passed.items() if keys}
        targets = with_former_tables(targets, alias)
    held = holds(destination)
    _refuse_held(targets, held)
    subjects, shared = subjects_with_key(targets)
    if is_encrypted_in(subjects, held):
        raise BemiError(
            "BEMI_LEGAL_HOLD holds tables with values that are encrypted with a key of the object, and could "
            "not be read without it: nothing was erased"
        )
    key = configured_masks().key
    require_gone(targets, Remains(targets, key), alias)
    values = interrupted.values if interrupted else values_of(targets)
    if archive is not None and interrupted is None:
        from bemi_django.erasure.archived.values import archived_values_of

        values |= archived_values_of(archive, targets)
    return ErasurePlan(
        alias,
        asked,
        targets,
        values,
        key,
        held,
        user_key(instance),
        interrupted,
        left,
        passed,
        archive,
        subjects,
        shared,
    )


def _find_by_key(target: Target, related: list[str] | None) -> Erasure | None:
    """Return an interrupted run that has hashed a former key of the row, and with it how the key changed.

    Another row may have the key now: then the log has changes of it that are not among those of the run.
    """
    keys = dict.fromkeys(span.key for span in target.spans)
    with closed_cursor(conf.destination()) as cursor:
        runs = [run for key in keys for run in records.find_by_key(cursor, target.place, key, related)]
    log = Change.objects.using(conf.destination())
    for run in runs:
        known = log.filter(run.targets[0].condition).values("pk")
        if not log.filter(target.condition).exclude(pk__in=known).exists():
            return run
    return None


def _refuse_held(targets: list[Target], held: list[TableRule]) -> None:
    for target in targets:
        if any(rule.is_for(target.place.schema, target.place.table) for rule in held):
            raise BemiError(
                f"BEMI_LEGAL_HOLD holds {target.name}: nothing was erased. Take it out of the setting and "
                "run 'manage.py bemi prune' once, when the hold is over"
            )
