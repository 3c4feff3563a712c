"""The rights that each role needs, and no others, as SQL."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from bemi_django import conf
from bemi_django.schema import append_only, computation, installed, ownership
from bemi_django.schema.database_names import server_name
from bemi_django.schema.sql import quote

_HAS_ROLE = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_OWNER = """
SELECT r.rolname FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
WHERE n.nspname OPERATOR(pg_catalog.=) '_bemi'::pg_catalog.name
"""
_SEAL = "_bemi.seal_v1(text, text, text, bytea, bytea, bytea, bytea, bytea)"
_RECORDED = "_bemi.recorded_v1(text, pg_lsn, pg_snapshot, text, text, text, pg_lsn, text[])"


def statements(
    using: str,
    worker: str,
    reader: str,
    handlers: str | None = None,
    owner: str | None = None,
    *,
    has_alerts: bool = False,
) -> Iterator[str]:
    """Return the lines of a script for a superuser.

    Args:
        using: The alias of the source.
        worker: The role of ``bemi run``.
        reader: The role that reads the log.
        handlers: The role of ``bemi run --handlers``, if there is one.
        owner: The role to which the log is to belong, if not to the role that installed it.
        has_alerts: Whether rules of alerts are kept in the admin, which reads the log.

    Returns:
        Statements and comments, one on each line.

    Raises:
        NotInstalled: ``migrate`` was not run.
    """
    yield f"-- {_place(using)}, whose changes are recorded"
    yield from _on_source(using, worker)
    destination = conf.destination()
    yield f"-- {_place(destination)}, which holds the log"
    if owner is not None:
        yield f"{_create_or_alter(destination, owner)} NOLOGIN;"
        yield from ownership.statements(destination, owner)
    yield from _on_destination(
        destination, worker, reader, is_same_server=_is_same_server(using, destination)
    )
    # The pages keep these with the role that reads the log. Rules say where webhooks are sent.
    kept = ("_bemi.saved_views", *(("_bemi.alert_rules",) if has_alerts else ()))
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(kept)} TO {quote(reader)};"
    if handlers is not None:
        yield from _for_handlers(destination, handlers)


def _on_source(alias: str, worker: str) -> Iterator[str]:
    with connections[alias].cursor() as cursor:
        installed.require(cursor, "plan_v1")
    role = quote(worker)
    yield f"{_create_or_alter(alias, worker)} LOGIN REPLICATION;"
    yield from _way_in(alias, role)
    yield f"GRANT SELECT ON _bemi.relations, _bemi.baselines, _bemi.baseline_rows TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.describe_v1(oid[], boolean) TO {role};"
    for used in ("types_v1(oid[])", "types_of_v1(oid, jsonb)", "named_by_v1(oid)"):
        yield f"GRANT EXECUTE ON FUNCTION _bemi.{used} TO {role};"
    # The worker has this role evaluate what table owners have written.
    yield f"{_create_or_alter(alias, computation.ROLE)} NOLOGIN;"
    yield f"ALTER FUNCTION {computation.FUNCTION} OWNER TO {computation.ROLE};"
    yield f"GRANT EXECUTE ON FUNCTION {computation.FUNCTION} TO {role}, {_owner(alias)};"
    for right in computation.missing_rights(alias):
        yield f"GRANT {right} TO {computation.ROLE};"


def _on_destination(alias: str, worker: str, reader: str, *, is_same_server: bool) -> Iterator[str]:
    log, role = installed.log(alias), quote(worker)
    schema = installed.schema_of(log)
    if not is_same_server:
        yield f"{_create_or_alter(alias, worker)} LOGIN;"
    yield from _way_in(alias, role, schema)
    yield f"GRANT INSERT ON {log}, _bemi.dead_letters, _bemi.activity_entries TO {role};"
    kept = "_bemi.checkpoint, _bemi.omitted_columns, _bemi.omitted_changes"
    yield f"GRANT SELECT, INSERT, UPDATE ON {kept} TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON _bemi.lanes TO {role};"
    yield f"GRANT SELECT, INSERT ON _bemi.histories, _bemi.accepted TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON _bemi.verifications, _bemi.verified TO {role};"
    yield f"GRANT SELECT ON _bemi.incomplete, _bemi.lost_months TO {role};"
    # The reader has no right to the keys.
    yield f"GRANT SELECT, INSERT ON _bemi.subject_keys TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.partition_v1(timestamptz) TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION {_RECORDED} TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION {_SEAL} TO {role};"
    yield f"GRANT SELECT ON _bemi.chains TO {role};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.mark_diverged_v1(bigint, bigint, bigint) TO {role};"
    if append_only.is_wanted():
        yield append_only.PROTECT
    yield f"{_create_or_alter(alias, reader)} LOGIN;"
    yield from _way_in(alias, quote(reader), schema)
    # A revert asks how far each lane is.
    beside = (
        "omitted_columns", "omitted_changes", "incomplete", "lost_months", "chains", "activity", "checkpoint",
        "lanes",
    )  # fmt: skip
    readable = ", ".join((log, *(f"_bemi.{name}" for name in beside)))
    yield f"GRANT SELECT ON {readable} TO {quote(reader)};"
    yield f"GRANT EXECUTE ON FUNCTION _bemi.activity_of_v1(text, text, jsonb) TO {quote(reader)};"
    if conf.is_source(alias):
        # as_of() needs these, and the right to read the tables.
        needed = "_bemi.histories, _bemi.past"
        yield f"GRANT SELECT ON {needed} TO {quote(reader)};"
        yield f"GRANT EXECUTE ON FUNCTION _bemi.past_make_v1(int) TO {quote(reader)};"


def _for_handlers(alias: str, handlers: str) -> Iterator[str]:
    """Yield what is needed to call handlers, without what the handlers do themselves."""
    log, role = installed.log(alias), quote(handlers)
    yield f"{_create_or_alter(alias, handlers)} LOGIN;"
    yield from _way_in(alias, role, installed.schema_of(log))
    yield f"GRANT SELECT ON {log}, _bemi.checkpoint, _bemi.histories TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON _bemi.handlers TO {role};"
    yield f"GRANT SELECT ON _bemi.alert_rules TO {role};"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON _bemi.undelivered TO {role};"


def _way_in(alias: str, role: str, *schemas: str) -> Iterator[str]:
    yield f"GRANT CONNECT ON DATABASE {quote(server_name(alias))} TO {role};"
    yield f"GRANT USAGE ON SCHEMA {', '.join(('_bemi', *schemas))} TO {role};"


def _owner(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute(_OWNER)
        return quote(str(cursor.fetchone()[0]))


def _create_or_alter(alias: str, role: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute(_HAS_ROLE, [role])
        exists = cursor.fetchone()[0]
    return f"{'ALTER' if exists else 'CREATE'} ROLE {quote(role)}"


def _is_same_server(*aliases: str) -> bool:
    found = [connections[alias].settings_dict for alias in aliases]
    return len({(settings["HOST"], str(settings["PORT"])) for settings in found}) == 1


def _place(alias: str) -> str:
    return f"{alias}: database {server_name(alias)}"
