"""Know by the names of tables whether what is written to them may come to masked columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

from bemi_django.masking import flat_types
from bemi_django.masking.references import REFERENCES, referring
from bemi_django.masking.rules import Rules

_NAMES = """
SELECT DISTINCT c.relname::text FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'f')
"""
# Tables and views of these names with all to which what is written to them comes: what a view shows, also by
# way of others, partitions, and children. Triggers (INSTEAD OF) and rules write in the place of any of them,
# to any table.
_REACHED = """
WITH RECURSIVE written (name, relation) AS (
    SELECT c.relname, c.oid FROM pg_class c
    WHERE c.relname = ANY (%s::name[]) AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'f')
    UNION
    SELECT w.name, below.relation FROM written w CROSS JOIN LATERAL (
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = w.relation
        UNION ALL
        SELECT d.refobjid FROM pg_rewrite v
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = v.oid
        WHERE v.ev_class = w.relation AND v.ev_type = '1'
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid >= 16384) below (relation))
SELECT w.name::text, c.oid, n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text,
       (SELECT json_object_agg(a.attname, {oid})::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype & 64 <> 0)
       OR EXISTS (SELECT FROM pg_rewrite o WHERE o.ev_class = c.oid AND o.ev_type <> '1')
FROM written w JOIN pg_class c ON c.oid = w.relation JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_namespace rn ON rn.oid = r.relnamespace
""".replace("{oid}", flat_types.OID.format("a.atttypid"))


#: The greatest number of answers that are remembered: an application has few statements.
_MOST_ANSWERS = 256


class WrittenTables:
    """Asks about the tables that statements name, and remembers them until there is DDL.

    Args:
        rows: Returns the rows of a query on the source.
        rules: The rules.
    """

    def __init__(self, rows: Callable[[str, list[Any]], list[tuple[Any, ...]]], rules: Rules) -> None:
        self._rows = rows
        self._rules = rules
        self._present: dict[str, list[str]] = {}
        self._known: dict[str, bool] = {}
        self._answers: dict[frozenset[str], list[str]] = {}

    def forget(self) -> None:
        """Forget what is known of tables."""
        self._present.clear()
        self._known.clear()
        self._answers.clear()

    def masked(self, names: frozenset[str]) -> list[str]:
        """Return those of some names, in lower case, by which masked columns may be written."""
        answer = self._answers.get(names)
        if answer is None:
            answer = self._masked(names)
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[names] = answer
        return answer

    def _masked(self, names: frozenset[str]) -> list[str]:
        if not self._present:
            for (name,) in self._rows(_NAMES, []):
                self._present.setdefault(name.lower(), []).append(name)
        # A text may have many words, which are others in each statement.
        present = [name for name in names if name in self._present]
        if new := [name for name in present if name not in self._known]:
            found = self._ask([written for name in new for written in self._present[name]])
            self._known.update((name, name in found) for name in new)
        return [name for name in present if self._known[name]]

    def _ask(self, written: Collection[str]) -> set[str]:
        reached = self._rows(_REACHED, [written])
        oids = list({oid for _, oid, *_ in reached})
        refer = {name[:2] for name in referring(self._rules, self._rows(REFERENCES, [oids]))}
        return {
            name.lower()
            for name, _, schema, table, *root, columns, is_replaced in reached
            if is_replaced
            or (schema, table) in refer
            or any(
                self._rules.is_masked({(schema, table), (root[0], root[1])}, *column)
                for column in json.loads(columns or "{}").items()
            )
        }
