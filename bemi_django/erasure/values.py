"""What there is of a person elsewhere than in their rows: values, and keys that encrypt values."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from django.db import connections

from bemi_django import conf, destinations
from bemi_django.encryption.key_table import count_keys
from bemi_django.encryption.subject_key import SubjectRow
from bemi_django.erasure.target import Target
from bemi_django.mask_rules import configured_masks
from bemi_django.models import Change
from bemi_django.retention.rules import TableRule
from bemi_django.schema.search_path import closed_cursor

#: Characters of the shortest and longest text, and of the shortest number, that is looked for: shorter ones
#: are found everywhere, and longer ones do not get into contexts.
SHORTEST, LONGEST, SHORTEST_NUMBER = 4, 200, 6
#: The greatest number of values; those of the newest changes count.
MOST = 20_000

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
            changes = Change.objects.filter(target.condition).order_by().values("before", "after")
            query, parameters = changes.query.sql_with_params()
            given: list[Any] = [list(target.kept), SHORTEST, SHORTEST_NUMBER, LONGEST, MOST]
            cursor.execute(_VALUES.format(rows=query), [*parameters, *given])
            found |= {value for (value,) in cursor.fetchall()}
    return found


def is_looked_for(text: str) -> bool:
    """Return whether a text is not too short to be looked for in contexts."""
    return len(text) >= (SHORTEST_NUMBER if text.isdecimal() else SHORTEST)


def subjects_with_key(targets: Iterable[Target]) -> list[SubjectRow]:
    """Return the rows of targets that have a key with which values are encrypted."""
    with closed_cursor(destinations.of_keys()) as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM _bemi.subject_keys)")
        if cursor.fetchone() == (False,):
            return []
    found: dict[SubjectRow, None] = {}
    for target in targets:
        keys = {span.key for span in target.spans}
        log = Change.objects.using(conf.destination()).filter(target.condition).order_by()
        for column in ("primary_key", "previous_primary_key"):
            keys |= {key for (key,) in log.values_list(column).distinct() if key is not None}
        found.update((SubjectRow(*target.place, key), None) for key in sorted(keys))
    with closed_cursor(destinations.of_keys()) as cursor:
        return [subject for subject in found if count_keys(cursor, [subject])]


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
