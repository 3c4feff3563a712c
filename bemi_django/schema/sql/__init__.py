"""The SQL of the objects in the database: one file up and one file down for each part."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Literal

from bemi_django.wire.defaults import TABLE
from bemi_django.wire.table_name import TableName

#: The parts of a database whose changes are recorded, in order.
SOURCE = (
    "schema_v1", "capture_v1", "descriptions_v1", "compute_v1", "tracking_v1", "event_triggers_v1",
    "baselines_v1",
)  # fmt: skip
#: The parts of the database that holds the log, in order.
LOG = (
    "schema_v1",
    "histories_v1",
    "changes_v1",
    "recorded_v1",
    "activity_v1",
    "handlers_v1",
    "alerts_v1",
    "saved_views_v1",
    "seals_v1",
    "verifications_v1",
    "append_only_v1",
    "retention_v1",
    "erasure_v1",
    "subject_keys_v1",
)
#: The parts of a database that is both.
PAST = ("past_v1", "past_queries_v1", "past_views_v1")

_DEFAULT = TableName(None, TABLE)

#: Who installs parts. Several may in the same database; a part stays until the last of them removes it.
Installer = Literal["django", "alembic", "bemi"]

_MADE = re.compile(r"\bCREATE (?:OR REPLACE )?(?:TABLE|VIEW|FUNCTION|SEQUENCE) _bemi\.(\w+)")

# With this path no name in a file can mean an object that somebody put into a schema of the caller's path.
# A log without a schema goes where the caller would create a table.
_BEGIN = """
SELECT pg_catalog.set_config('_bemi.path', pg_catalog.current_setting('search_path'), true),
       pg_catalog.set_config('_bemi.home', {schema}, true),
       pg_catalog.set_config('_bemi.table', {name}, true);
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
"""
_END = """
SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('_bemi.path'), true);
"""

# One statement, because asyncpg accepts one at a time.
_BLOCK = """
DO $bemi$
DECLARE
    path pg_catalog.text := pg_catalog.current_setting('search_path');
    role pg_catalog.text := pg_catalog.current_setting('role');
    owner pg_catalog.text;
    is_missing pg_catalog.bool;
BEGIN
    PERFORM pg_catalog.set_config('_bemi.home', {schema}, true),
            pg_catalog.set_config('_bemi.table', {name}, true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- A superuser has the rights of all roles, but must not run the code of each of them.
    SELECT n.nspowner::regrole FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
    WHERE n.nspname = '_bemi' AND (
        NOT pg_has_role(o.oid, 'USAGE')
        OR (SELECT me.rolsuper FROM pg_roles me WHERE me.rolname = current_user) AND NOT o.rolsuper
            AND o.oid <> (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()))
    INTO owner;
    IF owner IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'BEMI2', MESSAGE = format(
            'The schema _bemi belongs to the role %s, not to %I. Run this as its owner, or after '
            'GRANT %1$s TO %2$I; drop the schema if it is not of this package.', owner, current_user);
    END IF;
    {scripts}
    PERFORM set_config('search_path', path, true);
END
$bemi$
"""
_INSTALL = """
    is_missing := true;
    IF to_regclass('_bemi.parts') IS NOT NULL THEN
        is_missing := NOT EXISTS (SELECT FROM _bemi.parts p WHERE p.name = '{part}');
    END IF;
    IF is_missing THEN
        {role}
        EXECUTE $file${script}$file$;
        PERFORM set_config('role', role, true);
        INSERT INTO _bemi.parts (name, installers) VALUES ('{part}', '{{}}');
    END IF;
    UPDATE _bemi.parts SET installers = array_append(array_remove(installers, '{installer}'), '{installer}')
    WHERE name = '{part}';
"""
# What is made for a log of another role belongs to that role. A superuser would not lose its rights by this.
_AS_OWNER = """
        SELECT o.rolname FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
        WHERE n.nspname = '_bemi' AND o.rolname <> current_user
            AND NOT (SELECT me.rolsuper FROM pg_roles me WHERE me.rolname = current_user)
        INTO owner;
        IF owner IS NOT NULL THEN
            PERFORM set_config('role', owner, true);
        END IF;
"""
_REMOVE = """
    IF to_regclass('_bemi.parts') IS NOT NULL THEN
        UPDATE _bemi.parts SET installers = array_remove(installers, '{installer}') WHERE name = '{part}';
        IF EXISTS (SELECT FROM _bemi.parts p WHERE p.name = '{part}' AND p.installers = '{{}}')
            AND NOT _bemi.must_stay_v1('{part}')
        THEN
            DELETE FROM _bemi.parts WHERE name = '{part}';
            EXECUTE $file${script}$file$;
        END IF;
    END IF;
"""


def read(name: str) -> str:
    """Return the text of ``sql/<name>.sql``."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")


def names() -> set[str]:
    """Return the names of the tables and functions that any part makes in the schema ``_bemi``."""
    parts = dict.fromkeys((*SOURCE, *LOG, *PAST))
    return {name for part in parts for name in _MADE.findall(read(f"{part}_up"))}


def up(*names: str) -> str:
    """Return a script that runs ``sql/<name>_up.sql`` for each name, in this order."""
    return _BEGIN.format(**_place(_DEFAULT)) + "\n".join(read(f"{name}_up") for name in names) + _END


def down(*names: str) -> str:
    """Return the inverse of :func:`up` for the same names: the last one is removed first."""
    return (
        _BEGIN.format(**_place(_DEFAULT)) + "\n".join(read(f"{name}_down") for name in reversed(names)) + _END
    )


def install(installer: Installer, *parts: str, log: TableName) -> str:
    """Return a statement that creates the parts that are missing, and remembers who needs them.

    Args:
        installer: Who needs the parts.
        parts: Names of parts, in order.
        log: The name of the log, if this creates it.
    """
    blocks = [
        _INSTALL.format(
            part=part,
            installer=installer,
            script=read(f"{part}_up"),
            role=_AS_OWNER if part in LOG else "",
        )
        for part in parts
    ]
    return _BLOCK.format(scripts="".join(blocks), **_place(log))


def remove(installer: Installer, *parts: str) -> str:
    """Return a statement that removes the parts that nobody else needs, the last one first.

    A log with rows stays.

    Args:
        installer: Who needs the parts no longer.
        parts: Names of parts, in the order of :func:`install`.
    """
    blocks = [
        _REMOVE.format(part=part, installer=installer, script=read(f"{part}_down"))
        for part in reversed(parts)
    ]
    return _BLOCK.format(scripts="".join(blocks), **_place(_DEFAULT))


def quote(identifier: str) -> str:
    """Return an identifier in quotes, whatever it is made of.

    Unlike Django's ``quote_name``, which leaves a name alone that begins and ends with a quote.
    """
    return '"' + identifier.replace('"', '""') + '"'


def _place(log: TableName) -> dict[str, str]:
    schema = "pg_catalog.current_schema()" if log.schema is None else _literal(log.schema)
    return {"schema": f"{schema}::pg_catalog.text", "name": f"{_literal(log.name)}::pg_catalog.text"}


def _literal(text: str) -> str:
    """Return a literal that does not end the dollar quotes around it."""
    text = text.replace("\\", "\\\\").replace("'", "''").replace("$", "\\x24")
    return f"E'{text}'"
