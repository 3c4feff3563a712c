"""Install capture in an Alembic revision, online or offline (``--sql``), with any driver."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from alembic import context, op
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from bemi_django.schema import sql

logger = logging.getLogger(__name__)

# asyncpg accepts one statement at a time, so the whole file is executed inside one DO block.
_WHEN = """
DO $bemi$
BEGIN
    IF {} (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname = '_bemi' AND p.proname = 'plan_v1') THEN
        EXECUTE $file${}$file$;
    END IF;
END
$bemi$
"""


def upgrade(include: Iterable[str], exclude: Iterable[str], publication: str) -> None:
    """Install capture if it is missing, track the tables, and log what the role may not do.

    Args:
        include: Patterns ``schema.table`` of the tables to track.
        exclude: Patterns of the tables not to track.
        publication: Name of the publication.
    """
    op.execute(_literal(_WHEN.format("NOT EXISTS", sql.up(*sql.SOURCE))))
    op.execute(_literal(sql.read("track_v1_up")))
    chosen = {"publication": publication, "include": list(include), "exclude": list(exclude)}
    track = text("SELECT pg_temp._bemi_track_v1(:chosen)").bindparams(
        chosen=json.dumps(chosen, ensure_ascii=False)
    )
    if context.is_offline_mode():
        op.execute(track)
        return
    for (refused,) in op.get_bind().execute(track):
        logger.warning(
            "a table is not tracked yet, run 'manage.py bemi sync' as a role with the privileges: %s", refused
        )


def downgrade(publication: str) -> None:
    """Remove the triggers from the tables, and remove capture.

    Args:
        publication: Name of the publication.
    """
    op.execute(_literal(sql.read("track_v1_down")))
    untrack = text("SELECT pg_temp._bemi_untrack_v1(:publication)").bindparams(publication=publication)
    op.execute(untrack)
    op.execute(_literal(_WHEN.format("EXISTS", sql.down(*sql.SOURCE))))


def _literal(statement: str) -> TextClause:
    """Return a statement in which a colon does not start a parameter."""
    return text(statement.replace(":", "\\:"))
