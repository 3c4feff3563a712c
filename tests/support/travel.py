"""Helpers of the tests of time travel."""

from __future__ import annotations

from django.test import override_settings

from tests.support.project_database import execute

#: For tests whose worker has written everything: ``as_of`` need not wait for it.
settled = override_settings(BEMI_AS_OF_PATIENCE=0)


def here() -> str:
    """Return the LSN after the last commit."""
    ((lsn,),) = execute("SELECT pg_current_wal_insert_lsn()::text")
    return str(lsn)
