"""Install capture and the log in an Alembic revision, online or offline (``--sql``), with any driver."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from alembic import context, op
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from bemi_django.integrations import log_table
from bemi_django.schema import sql
from bemi_django.wire.defaults import all_excluded

logger = logging.getLogger(__name__)

_PARTS = (*sql.SOURCE, *sql.LOG[1:], *sql.PAST)
_SCHEMA = re.compile(r"_bemi(_past_.*)?", re.DOTALL)
_COLUMNS_OF_LOG = frozenset(("before", "after", "context", "committed_at", "queued_at", "transaction_id"))


def upgrade(include: Iterable[str] | None, exclude: Iterable[str], publication: str, log: bool) -> None:
    """Install what is missing, track the tables, and log what the role may not do.

    Args:
        include: Patterns ``schema.table`` of the tables to track; None for the schemas in the search path.
        exclude: Patterns of the tables not to track.
        publication: Name of the publication.
        log: Whether this database holds the log.
    """
    table = log_table.configured()
    op.execute(_literal(sql.install("alembic", *(_PARTS if log else sql.SOURCE), log=table)))
    op.execute(_literal(sql.read("track_v1")))
    included = None if include is None else list(include)
    excluded = all_excluded(included or (), exclude)
    chosen = {"publication": publication, "include": included, "exclude": excluded}
    track = text("SELECT pg_temp._bemi_track_v1(:chosen)").bindparams(
        chosen=json.dumps(chosen, ensure_ascii=False)
    )
    _report(track, "a table is not tracked yet, run 'bemi sync' as a role with the privileges: %s")


def downgrade() -> None:
    """Remove capture and, if it is empty, the log, unless a Django project needs them; log what is left."""
    op.execute(_literal(sql.remove("alembic", *_PARTS)))
    op.execute(_literal(sql.read("left_v1")))
    _report(text("SELECT pg_temp._bemi_left_v1()"), "%s")


def include_object(found: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Return False for the tables of this package, which no revision should drop.

    Pass it to ``context.configure(include_object=...)`` in ``env.py``, or call it from your own function.

    Args:
        found: The table, or what belongs to one.
        name: Its name.
        kind: ``"table"``, ``"column"``, ``"index"``, ``"unique_constraint"`` or ``"foreign_key_constraint"``.
        reflected: Whether it was found in the database.
        compare_to: What it is compared with; None if the metadata does not have it.
    """
    return not (kind == "table" and reflected and compare_to is None and _is_ours(found))


def include_name(name: str | None, kind: str, parent_names: Any) -> bool:
    """Return False for the schemas of this package, so that autogenerate does not look into them.

    Pass it to ``context.configure(include_name=...)`` in ``env.py`` together with ``include_schemas=True``.

    Args:
        name: Name of a schema or of what is in one; None for the default schema.
        kind: ``"schema"``, ``"table"`` and so on.
        parent_names: Names of the schema and table around it.
    """
    return not (kind == "schema" and name is not None and _SCHEMA.fullmatch(name))


def _is_ours(table: Any) -> bool:
    if table.schema is not None and _SCHEMA.fullmatch(table.schema):
        return True
    # The log may have been renamed, and a table of the application may be called changes.
    return set(table.columns.keys()) >= _COLUMNS_OF_LOG or table.name == "django_migrations"


def _report(query: Any, message: str) -> None:
    if context.is_offline_mode():
        op.execute(query)
        return
    for (line,) in op.get_bind().execute(query):
        logger.warning(message, line)


def _literal(statement: str) -> TextClause:
    """Return a statement in which a colon does not start a parameter."""
    return text(statement.replace(":", "\\:"))
