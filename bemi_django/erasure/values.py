"""What there is of a person elsewhere than in their rows: values, and keys that encrypt values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from django.db import connections

from bemi_django import conf, destinations
from bemi_django.encryption.key_table import count_keys
from bemi_django.encryption.subject_key import SubjectRow
from bemi_django.erasure.targets.shared_rows import keys_of, shared_keys, sides_of_change
from bemi_django.erasure.targets.target import Target
from bemi_django.log.lossless_json import dumps
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from bemi_django.retention.table_rule import TableRule
from bemi_django.schema.search_path import closed_cursor

#: Characters of the shortest and longest text, and of the shortest number, that is looked for: shorter ones
#: are found everywhere, and longer ones do not get into contexts.
SHORTEST, LONGEST, SHORTEST_NUMBER = 4, 200, 6
#: The greatest number of values; those of the newest changes count.
MOST = 20_000
_CHUNK = 200

# Executed with the path of the session, because the query of the changes is: all names have their schema.
_VALUES = """
SELECT DISTINCT t.text FROM ({rows}) r
CROSS JOIN LATERAL (VALUES (r.before), (r.after)) s (image)
CROSS JOIN LATERAL pg_catalog.jsonb_path_query(
    s.image OPERATOR(pg_catalog.-) %s::pg_catalog.text[], 'strict $.**'::pg_catalog.jsonpath) v (value)
CROSS JOIN LATERAL (
    SELECT v.value OPERATOR(pg_catalog.#>>) '{{}}'::pg_catalog.text[],
           pg_catalog.jsonb_typeof(v.value)) t (text, type)
WHERE pg_catalog.length(t.text) OPERATOR(pg_catalog.>=) CASE
        WHEN t.type OPERATOR(pg_catalog.=) 'string'::pg_catalog.text THEN %s::pg_catalog.int4
        WHEN t.type OPERATOR(pg_catalog.=) 'number'::pg_catalog.text THEN %s::pg_catalog.int4 END
    AND pg_catalog.length(t.text) OPERATOR(pg_catalog.<=) %s::pg_catalog.int4
LIMIT %s
"""


def values_of(targets: Iterable[Target]) -> set[str]:
    """Return the values in the changes of targets, as text, without their keys."""
    found: set[str] = set()
    for target in targets:
        with connections[conf.destination()].cursor() as cursor:
            log = Change.objects.using(conf.destination()).filter(target.condition).order_by()
            changes = log.exclude(target.may_be_half).values("before", "after")
            query, parameters = changes.query.sql_with_params()
            given: list[Any] = [list(target.kept), SHORTEST, SHORTEST_NUMBER, LONGEST, MOST]
            cursor.execute(_VALUES.format(rows=query), [*parameters, *given])
            found |= {value for (value,) in cursor.fetchall()}
        for change in log.filter(target.may_be_half).iterator(_CHUNK):
            for side in sides_of_change(target, change):
                if len(found) < MOST:
                    found.update(texts_in(getattr(change, side), target.kept))
    return found


def texts_in(row: Mapping[str, Any], kept: Collection[str]) -> Iterator[str]:
    """Yield the values of a row that are looked for, as text, without those of some columns."""
    for name, value in row.items():
        if name not in kept:
            yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        if SHORTEST <= len(value) <= LONGEST:
            yield value
    elif not isinstance(value, (bool, type(None))) and SHORTEST_NUMBER <= len(dumps(value)) <= LONGEST:
        yield dumps(value)


def is_looked_for(text: str) -> bool:
    """Return whether a text is not too short to be looked for in contexts."""
    return len(text) >= (SHORTEST_NUMBER if text.isdecimal() else SHORTEST)


class SubjectKeys(NamedTuple):
    """Rows of targets that have a key with which values are encrypted.

    ``shared`` are those that were or are of others, too: their keys stay, because values of others are
    encrypted with them.
    """

    own: list[SubjectRow]
    shared: list[SubjectRow]


def subjects_with_key(targets: Iterable[Target]) -> SubjectKeys:
    """Return the rows of targets that have a key with which values are encrypted."""
    with closed_cursor(destinations.of_keys()) as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM _bemi.subject_keys)")
        if cursor.fetchone() == (False,):
            return SubjectKeys([], [])
    found: dict[SubjectRow, bool] = {}
    for target in targets:
        keys = keys_of(target)
        shared = shared_keys(target, keys)
        found.update((SubjectRow(*target.place, key), key in shared) for key in sorted(keys))
    with closed_cursor(destinations.of_keys()) as cursor:
        keyed = [subject for subject in found if count_keys(cursor, [subject])]
    return SubjectKeys(*([each for each in keyed if found[each] is is_shared] for is_shared in (False, True)))


def encrypted_elsewhere(subjects: Iterable[SubjectRow]) -> list[tuple[str, str]]:
    """Return patterns of tables and columns whose values are encrypted with keys of rows that they refer to.

    Args:
        subjects: Rows; only what refers to their tables counts.
    """
    tables = {(subject.schema, subject.table) for subject in subjects}
    found = []
    for pattern, encryption in configured_masks().encrypted:
        schema, _, table = encryption.table.rpartition(".")
        if any(schema in ("", own[0]) and table == own[1] for own in tables):
            found.append((pattern.table, pattern.column))
    return found


def is_encrypted_in(subjects: Iterable[SubjectRow], held: Iterable[TableRule]) -> bool:
    """Return whether keys of rows may encrypt values in tables that are held."""
    tables = [table for table, _ in encrypted_elsewhere(subjects)]
    return any(rule.table is None or fnmatchcase(rule.table, table) for rule in held for table in tables)
