"""What a role may try in order to change, remove, hide or forge rows of the log, and what must stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg2

_STATEMENTS = Path(__file__).with_suffix(".sql")
_FUNCTIONS = """
SELECT p.oid::regproc::text, array(SELECT t::regtype::text FROM unnest(p.proargtypes::oid[]) t)
FROM pg_proc p WHERE p.pronamespace = '_bemi'::regnamespace AND p.prorettype <> 'trigger'::regtype
    AND p.prorettype <> 'event_trigger'::regtype AND has_function_privilege(current_user, p.oid, 'EXECUTE')
ORDER BY 1
"""
#: Of other types, NULL. The last of each is NULL, too.
_ARGUMENTS = {
    "text": ("", "bemi_roles", "public.changes", "x'; DELETE FROM changes; --"),
    "bigint": (0, 1, -1, 2**63 - 1),
    "integer": (0, 1, -1, 2**31 - 1),
    "timestamp with time zone": ("2003-05-03", "-infinity", "infinity", "294276-12-31"),
    "jsonb": ("{}", "[]", "[{}]", '{"month": "2003-05"}'),
    "boolean": (True, False),
    "regclass": ("changes", "changes_2003_05", "pg_class"),
    "oid": ("changes", "changes_2003_05"),
    "uuid": ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "bytea": (b"", b"\0" * 16, b"\0" * 32),
    "text[]": ([], ["changes"]),
    "oid[]": ([], [1259]),
}
_STATE = """
WITH tables AS (
    SELECT c.* FROM pg_class c
    WHERE c.oid::regclass::text = ANY (%(tables)s)
        OR c.relnamespace = '_bemi'::regnamespace AND c.relkind = 'r' AND c.relname IN (
            'permits', 'links', 'chains', 'retention', 'prunings', 'erasures', 'dead_letters', 'checkpoint')
), functions AS (
    SELECT p.* FROM pg_proc p
    WHERE p.pronamespace = '_bemi'::regnamespace AND p.proowner = 'bemi_log'::regrole
)
SELECT 'row', c.id::text, (to_jsonb(c) - 'diverged')::text FROM {log} c WHERE c.database = 'shop'
UNION ALL
SELECT 'table', c.oid::regclass::text, jsonb_build_array(
    c.relowner::regrole, c.relrowsecurity, c.relpersistence, obj_description(c.oid),
    ARRAY(SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = c.oid),
    ARRAY(SELECT concat(a.attname, a.atttypid::regtype, pg_get_expr(d.adbin, d.adrelid))
          FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
    -- Where pruning is under way, a month is watched.
    ARRAY(SELECT concat(t.tgname, t.tgenabled, t.tgfoid::regproc) FROM pg_trigger t
          WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgname <> '_bemi_touched' ORDER BY 1),
    ARRAY(SELECT r.rulename FROM pg_rewrite r WHERE r.ev_class = c.oid ORDER BY 1),
    ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.conrelid = c.oid ORDER BY 1),
    ARRAY(SELECT i.indexrelid::regclass FROM pg_index i WHERE i.indrelid = c.oid ORDER BY 1))::text
FROM tables c
UNION ALL
SELECT 'right', concat_ws(' ', c.oid::regclass, a.grantee::regrole, a.privilege_type, a.is_grantable), ''
FROM tables c CROSS JOIN LATERAL aclexplode(c.relacl) a
UNION ALL
SELECT 'function', p.oid::regprocedure::text, concat_ws(' ', p.prosecdef, p.proconfig, md5(p.prosrc))
FROM functions p
UNION ALL
SELECT 'right', concat_ws(' ', p.oid::regprocedure, a.grantee::regrole, a.privilege_type, a.is_grantable), ''
FROM functions p CROSS JOIN LATERAL aclexplode(p.proacl) a
UNION ALL
SELECT 'role', r.rolname, concat_ws(' ', r.rolsuper, r.rolcanlogin, r.rolbypassrls, ARRAY(
    SELECT m.roleid::regrole FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1))
FROM pg_roles r WHERE r.rolname IN ('app', 'bemi_log', 'bemi_worker', 'bemi_reader', 'bemi_handlers')
UNION ALL
SELECT 'schema', n.nspname, n.nspowner::regrole::text
FROM pg_namespace n WHERE n.nspname IN ('public', '_bemi')
UNION ALL
SELECT 'permit', p.purpose, '' FROM _bemi.permits p
UNION ALL
SELECT 'link', l.chain, l.kind FROM _bemi.links l WHERE l.kind NOT IN ('begin', 'changes', 'end')
UNION ALL
-- Also in months that were made since.
SELECT 'changeable', c::text, '' FROM _bemi.changeable_v1() c
UNION ALL
SELECT 'month', t.relid::regclass::text, c.relacl::text
FROM pg_partition_tree('{log}') t JOIN pg_class c ON c.oid = t.relid
WHERE t.level > 0 AND (c.relacl IS NOT NULL OR c.relowner <> 'bemi_log'::regrole)
"""


def attack(parameters: dict[str, Any], log: str, month: str) -> int:
    """Try everything as a role, and return how many statements were refused or failed."""
    names = {"LOG": log, "MONTH": month, "ME": parameters["user"]}
    failed = 0
    with closing(psycopg2.connect(**parameters)) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute("SET lock_timeout = '1s'; SET statement_timeout = '500ms'")
        for statement, values in (*_calls(cursor), *_statements(names)):
            try:
                cursor.execute(statement, values)
            except psycopg2.Error:
                failed += 1
    return failed


def state(cursor: Any, log: str, month: str) -> dict[tuple[str, str], str]:
    """Return the rows that tests have written, and all by which they could be changed or hidden later.

    Rights that are gone are no danger: whoever has them may give them up.
    """
    cursor.execute(_STATE.format(log=log), {"tables": [log, month]})
    return {(kind, name): what for kind, name, what in cursor.fetchall()}


def _statements(names: dict[str, str]) -> Iterator[tuple[str, None]]:
    for line in _STATEMENTS.read_text().splitlines():
        if not line.startswith("--"):
            yield re.sub(r"\b(LOG|MONTH|ME)\b", lambda match: names[match[1]], line), None


def _calls(cursor: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield calls of each function that the role may call."""
    cursor.execute(_FUNCTIONS)
    for name, types in cursor.fetchall():
        cast = ", ".join(f"%s::{type_}" for type_ in types)
        given = [[*_ARGUMENTS.get(type_, ()), None] for type_ in types]
        for values in zip_longest(*given) if given else [()]:
            yield f"SELECT {name}({cast})", list(values)
