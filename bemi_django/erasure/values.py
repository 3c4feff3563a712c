"""The values of a person that may be found in other places than their rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections

from bemi_django import conf
from bemi_django.erasure.target import Target
from bemi_django.models import Change

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
