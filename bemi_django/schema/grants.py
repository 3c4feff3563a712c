"""The rights that each role needs, and no others, as SQL."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections, transaction

from bemi_django import conf
from bemi_django.schema import installed
from bemi_django.schema.database_names import database_name
from bemi_django.schema.sql import quote

# What the worker has the server evaluate: casts to json of user-defined types, and generated columns.
_USED = """
WITH computed AS (
    SELECT d.oid AS definition, d.adrelid AS relation, d.adnum AS number
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated <> ''
),
needed AS (
    SELECT d.refclassid, d.refobjid FROM pg_depend d JOIN computed c
        ON d.classid = 'pg_attrdef'::regclass AND d.objid = c.definition
        -- PostgreSQL 14 stores the dependency of the column.
        OR d.classid = 'pg_class'::regclass AND d.objid = c.relation AND d.objsubid = c.number
),
function AS (
    SELECT castfunc AS oid FROM pg_cast WHERE casttarget = 'json'::regtype AND castmethod = 'f'
    UNION SELECT refobjid FROM needed WHERE refclassid = 'pg_proc'::regclass
    UNION SELECT oprcode FROM needed JOIN pg_operator o ON o.oid = refobjid
          WHERE refclassid = 'pg_operator'::regclass
),
type AS (
    SELECT castsource AS oid FROM pg_cast WHERE casttarget = 'json'::regtype AND castmethod = 'f'
    UNION SELECT refobjid FROM needed WHERE refclassid = 'pg_type'::regclass
    UNION SELECT atttypid FROM pg_attribute JOIN computed ON attrelid = relation
          WHERE attnum > 0 AND NOT attisdropped
),
namespace AS (
    SELECT pronamespace AS oid FROM function JOIN pg_proc USING (oid)
    UNION SELECT typnamespace FROM type JOIN pg_type USING (oid)
    UNION SELECT oprnamespace FROM needed JOIN pg_operator o ON o.oid = refobjid
          WHERE refclassid = 'pg_operator'::regclass
)
SELECT 'USAGE ON SCHEMA ' || quote_ident(nspname) FROM namespace JOIN pg_namespace USING (oid)
WHERE NOT has_schema_privilege('public', oid, 'USAGE')
UNION ALL
SELECT 'EXECUTE ON FUNCTION ' || oid::regprocedure::text FROM function
WHERE NOT has_function_privilege('public', oid, 'EXECUTE')
ORDER BY 1
"""


def statements(using: str, worker: str, reader: str, handlers: str | None = None) -> Iterator[str]:
    """Return the lines of a script for a superuser.

    Args:
        using: The alias of the source.
        worker: The role of ``bemi run``.
        reader: The role that reads the log.
        handlers: The role of ``bemi run --handlers``, if there is one.

    Returns:
        Statements and comments, one on each line.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    yield f"-- {_place(using)}, whose changes are recorded"
    yield from _on_source(using, worker)
    destination = conf.destination()
    yield f"-- {_place(destination)}, which holds the log"
    yield from _on_destination(
        destination, worker, reader, is_same_server=_is_same_server(using, destination)
    )
    if handlers is not None:
        yield from _for_handlers(destination, handlers)


def _on_source(alias: str, worker: str) -> Iterator[str]:
    with connections[alias].cursor() as cursor:
        installed.require(cursor, "plan_v1")
    role = quote(worker)
    yield f"{_create_or_alter(alias, worker)} LOGIN REPLICATION;"
    yield from _way_in(alias, role)
    yield f"GRANT SELECT ON _bemi.relations TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.describe_v1(oid, boolean) TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.types_v1(oid[]) TO {role};"
    for right in _rights_on_what_is_used(alias):
        yield f"GRANT {right} TO {role};"


def _rights_on_what_is_used(alias: str) -> list[str]:
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        # With this path, names are printed with their schemas.
        cursor.execute("SELECT set_config('search_path', 'pg_catalog', true)")
        cursor.execute(_USED)
        return [right for (right,) in cursor.fetchall()]


def _on_destination(alias: str, worker: str, reader: str, *, is_same_server: bool) -> Iterator[str]:
    log, role = installed.log(alias), quote(worker)
    schema = log[: log.rindex(".")]
    if not is_same_server:
        yield f"{_create_or_alter(alias, worker)} LOGIN;"
    yield from _way_in(alias, role, schema)
    yield f"GRANT INSERT ON {log}, _bemi.dead_letters TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE ON _bemi.checkpoint TO {role};"
    yield f"GRANT SELECT, INSERT ON _bemi.histories TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.partition_v1(timestamptz) TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.mark_diverged_v1(bigint, bigint, bigint) TO {role};"
    yield f"{_create_or_alter(alias, reader)} LOGIN;"
    yield from _way_in(alias, quote(reader), schema)
    yield f"GRANT SELECT ON {log} TO {quote(reader)};"
    if conf.is_source(alias):
        # as_of() needs these, and the right to read the tables.
        yield f"GRANT SELECT ON _bemi.checkpoint, _bemi.histories, _bemi.past TO {quote(reader)};"


def _for_handlers(alias: str, handlers: str) -> Iterator[str]:
    """Yield what is needed to call handlers, without what the handlers do themselves."""
    log, role = installed.log(alias), quote(handlers)
    yield f"{_create_or_alter(alias, handlers)} LOGIN;"
    yield from _way_in(alias, role, log[: log.rindex(".")])
    yield f"GRANT SELECT ON {log}, _bemi.checkpoint, _bemi.histories TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE ON _bemi.handlers TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON _bemi.undelivered TO {role};"


def _way_in(alias: str, role: str, *schemas: str) -> Iterator[str]:
    yield f"GRANT CONNECT ON DATABASE {quote(database_name(alias))} TO {role};"
    yield f"GRANT USAGE ON SCHEMA {', '.join(('_bemi', *schemas))} TO {role};"


def _create_or_alter(alias: str, role: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role])
        exists = cursor.fetchone()[0]
    return f"{'ALTER' if exists else 'CREATE'} ROLE {quote(role)}"


def _is_same_server(*aliases: str) -> bool:
    found = [connections[alias].settings_dict for alias in aliases]
    return len({(settings["HOST"], str(settings["PORT"])) for settings in found}) == 1


def _place(alias: str) -> str:
    return f"{alias}: database {database_name(alias)}"
