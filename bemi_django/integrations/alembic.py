"""Install capture in an Alembic revision, online or as a script (``--sql``), through any driver."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from alembic import context, op
from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from bemi_django.schema import sql

logger = logging.getLogger(__name__)

# One statement, whatever the file holds: asyncpg sends no more at a time.
_WHEN = """
DO $bemi$
BEGIN
    IF {} (SELECT FROM pg_catalog.pg_proc WHERE proname = '_bemi_plan_v1') THEN
        EXECUTE $file${}$file$;
    END IF;
END
$bemi$
"""


def upgrade(include: Iterable[str], exclude: Iterable[str], publication: str) -> None:
    """Install capture unless it is there, track tables, and log what the role may not do."""
    op.execute(_literal(_WHEN.format("NOT EXISTS", sql.read("capture_v1_up"))))
    op.execute(_literal(sql.read("track_v1_up")))
    chosen = {"publication": publication, "include": list(include), "exclude": list(exclude)}
    track = text("SELECT pg_temp._bemi_track_v1(:chosen)").bindparams(
        chosen=json.dumps(chosen, ensure_ascii=False)
    )
    if context.is_offline_mode():
        op.execute(track)
        return
    for (refused,) in op.get_bind().execute(track):
        logger.warning("not tracked yet, run 'manage.py bemi sync' as a role that may: %s", refused)


def downgrade(publication: str) -> None:
    """Take off the tables what :func:`upgrade` put there, and remove capture."""
    op.execute(_literal(sql.read("track_v1_down")))
    untrack = text("SELECT pg_temp._bemi_untrack_v1(:publication)").bindparams(publication=publication)
    op.execute(untrack)
    op.execute(_literal(_WHEN.format("EXISTS", sql.read("capture_v1_down"))))


def _literal(statement: str) -> TextClause:
    """A statement without parameters: its colons are colons."""
    return text(statement.replace(":", "\\:"))
