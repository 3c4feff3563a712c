"""Whether roles that were given rights once still have all that they need."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bemi_django import conf
from bemi_django.doctor.finding import Finding
from bemi_django.schema import computation, grants, installed
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote

_GRANT = re.compile(r"GRANT (.+) ON (?:(SCHEMA|DATABASE|FUNCTION) )?(.+) TO (.+);")
# A name of a list, which may be quoted or have arguments with commas in it.
_NAME = re.compile(r'(?:"(?:[^"]|"")+"|\([^)]*\)|[^",( ])+')
_PLACE = re.compile(r"-- (.+): database ")
# Who may write the log without owning it is a worker. What others may read is not for this package to say.
_WORKERS = """
SELECT DISTINCT r.rolname::text
FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE c.oid = _bemi.log_v1() AND a.grantee <> c.relowner AND NOT r.rolsuper AND r.rolname <> %s
    AND a.privilege_type = 'INSERT'
ORDER BY 1
"""


def findings(source: str) -> Iterator[Finding]:
    """Yield roles that write the log and lack some of the rights that ``bemi grants`` prints for them.

    Args:
        source: Alias of a source on which the package is installed.
    """
    destination = conf.destination()
    with closed_cursor(destination) as cursor:
        if not installed.has(cursor, "partition_v1"):
            return
        cursor.execute(_WORKERS, [computation.ROLE])
        workers = [role for (role,) in cursor.fetchall()]
    for worker in workers:
        if lacking := list(dict.fromkeys(_lacking(source, worker))):
            yield Finding(
                "bemi.D015",
                f"The role {worker} lacks {'; '.join(lacking)}.",
                f"Run what manage.py bemi grants --worker {worker} prints, as a superuser.",
                stops=True,
            )


def _lacking(source: str, worker: str) -> Iterator[str]:
    alias = source
    for line in grants.statements(source, worker, reader=""):
        if place := _PLACE.match(line):
            alias = place[1]
        found = _GRANT.fullmatch(line)
        if found is None or found[4] != quote(worker):
            continue
        privileges, kind, objects = found[1].split(", "), found[2] or "TABLE", found[3]
        for name in _NAME.findall(objects):
            for privilege in privileges:
                if not _has(alias, worker, kind, name, privilege):
                    yield f"{privilege} ON {kind} {name}"


def _has(alias: str, role: str, kind: str, name: str, privilege: str) -> bool:
    given = name.strip('"').replace('""', '"') if kind in ("SCHEMA", "DATABASE") else name
    with closed_cursor(alias) as cursor:
        cursor.execute(f"SELECT has_{kind.lower()}_privilege(%s, %s, %s)", [role, given, privilege])
        return bool(cursor.fetchone()[0])
